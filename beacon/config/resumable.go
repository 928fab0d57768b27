package config

import "time"

// Resumable is about uploads that come in parts and can go on after a cut.
type Resumable struct {
	// Enabled offers it; without it every upload comes whole.
	Enabled bool `yaml:"enabled"`
	// MaxAge is how long an upload may take from its beginning. Longer lets machines
	// that are seldom online finish; shorter frees the disk of what was abandoned
	// sooner.
	MaxAge time.Duration `yaml:"max_age"`
	// MaxFiles and MaxBytes bound all that are unfinished, SourceFiles and
	// SourceBytes those of one device, ChildFiles and ChildBytes those of one
	// relaying beacon, or of the files without a device behind one address; 0 means
	// no bound. More keep what waits to go on through a long outage; less leave the
	// disk to the spool.
	MaxFiles    int   `yaml:"max_files"`
	MaxBytes    Bytes `yaml:"max_bytes"`
	SourceFiles int   `yaml:"source_files"`
	SourceBytes Bytes `yaml:"source_bytes"`
	ChildFiles  int   `yaml:"child_files"`
	ChildBytes  Bytes `yaml:"child_bytes"`
	// Interim sends interim answers (status 104) to clients that ask for them. Not
	// behind a proxy that takes one for the answer.
	Interim bool `yaml:"interim"`
}

// A week lets a laptop that was shut on Friday, and its owner's holiday on Monday,
// finish; all bounds together are a small part of what a beacon's disk has.
func defaultResumable() Resumable {
	return Resumable{
		Enabled: true, MaxAge: 7 * 24 * time.Hour,
		MaxFiles: 1024, MaxBytes: 16 << 30, SourceFiles: 32, SourceBytes: 2 << 30,
		ChildFiles: 512, ChildBytes: 8 << 30, // half, as of the spool: the other is for others
	}
}

func (c *Config) checkResumable(bad report) {
	r := c.Resumable
	if r.Enabled && r.MaxAge <= 0 {
		bad("resumable.max_age", "must be more than nothing; say \"enabled: false\" to have none")
	}
	for key, n := range map[string]int64{
		"max_files": int64(r.MaxFiles), "max_bytes": int64(r.MaxBytes), "source_files": int64(r.SourceFiles), "source_bytes": int64(r.SourceBytes),
		"child_files": int64(r.ChildFiles), "child_bytes": int64(r.ChildBytes),
	} {
		if n < 0 {
			bad("resumable."+key, "cannot be negative; 0 means no bound")
		}
	}
}
