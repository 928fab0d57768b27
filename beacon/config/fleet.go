package config

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"inventorybeacon/uploads/fleet"
)

// Fleet is about what a beacon tells those above it of itself and its devices, and
// where it reads what others tell.
type Fleet struct {
	// Every is how often; 0 is never. More often tells the centre sooner of what
	// changed; less often makes fewer files.
	Every time.Duration `yaml:"every"`
	// Read are the stores in which what other beacons tell is looked for.
	Read []FleetStore `yaml:"read"`
}

// A FleetStore is a bucket to which other beacons relay.
type FleetStore struct {
	Name string `yaml:"name"`
	// Every is how often it is looked for new reports; 5m if it is not set. More often
	// knows sooner what they say; less often asks the store less.
	Every time.Duration `yaml:"every"`
	S3    *S3           `yaml:"s3"`
}

// readEvery is how often reports are made, unless somebody says otherwise.
const readEvery = 5 * time.Minute

func defaultFleet() Fleet { return Fleet{Every: 5 * time.Minute} }

func (c *Config) checkFleet(bad report) {
	if e := c.Fleet.Every; e != 0 && (e < time.Second || e > 24*time.Hour) {
		bad("fleet.every", "must be from 1s to 24h, or 0 for never")
	}
	seen := map[string]bool{}
	for i, r := range c.Fleet.Read {
		key := fmt.Sprintf("fleet.read[%d]", i)
		switch name := strings.ToLower(r.Name); {
		case name == "" || strings.ContainsFunc(name, notPlain):
			bad(key+".name", "%q is no name of letters, digits, - and _", r.Name)
		case seen[name]:
			bad(key+".name", "%q is taken by another store", r.Name)
		default:
			seen[name] = true
		}
		if r.Every < time.Second || r.Every > 24*time.Hour {
			bad(key+".every", "must be from 1s to 24h")
		}
		if r.S3 == nil {
			bad(key+".s3", "is missing: it says where the bucket is, as for a destination")
			continue
		}
		r.S3.check(bad, key+".s3")
	}
}

func (f *Fleet) complete() {
	for i := range f.Read {
		f.Read[i].Every = cmp.Or(f.Read[i].Every, readEvery)
	}
}

// Reports returns how often fleet status is reported: never if no required
// destination takes it.
func (c *Config) Reports() time.Duration {
	if c.Takes(fleet.Kind) {
		return c.Fleet.Every
	}
	return 0
}
