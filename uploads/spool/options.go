package spool

import (
	"log/slog"
	"slices"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/disk"
)

// A SinkName is a destination whose progress the spool keeps.
type SinkName struct {
	Name string
	// Required sinks must all have a file before it leaves the spool. If none of
	// the sinks that take a kind is required, all of them are.
	Required bool
	// Kinds are the folders it takes; none means all.
	Kinds []string
}

func (n SinkName) takes(kind string) bool {
	return len(n.Kinds) == 0 || slices.Contains(n.Kinds, kind)
}

// DefaultHorizon is longer than any agent keeps a file that it could not send.
const DefaultHorizon = 90 * 24 * time.Hour

// MaxSinks is how many destinations one spool keeps progress for.
const MaxSinks = 32

// Options say how a spool works. The zero value is a small spool without
// sinks, whose files stay until somebody loses them.
type Options struct {
	// SegmentBytes is the size of a journal file; 0 means 64 MiB or 1/32 of the
	// free disk, whichever is less. Larger ones are changed less often; smaller
	// ones are freed sooner. Segments of another size that are already there
	// stay in use.
	SegmentBytes int64
	// Recycle writes segments with zeros before they are used and uses them
	// again, so that a sync has no metadata to write (a beacon). Without it they
	// grow as they are written and are removed (an agent's outbox).
	Recycle bool
	// Spares is how many segments are kept ready, at most as many as were begun; 0
	// means 4 with Recycle, negative none. More take disk from uploads; fewer make
	// a long burst slower.
	Spares int
	// MemoryBudget bounds the bodies being collected in memory; 0 means 64 MiB.
	// What exceeds it goes through a file of its own, which is slower.
	MemoryBudget int64
	// Beacon is the identity put in receipts.
	Beacon string
	// Sinks are the destinations, at most MaxSinks.
	Sinks []SinkName

	// MaxBytes bounds the bodies held; 0 means no bound. An upload that finds no
	// room makes some by giving up others (see GiveUp), else fails with
	// [uploads.ErrFull].
	MaxBytes int64
	// MaxFiles bounds the number of files held in the same way; 0 means no bound.
	MaxFiles int
	// Horizon is how long receipts are kept after their files left; 0 means
	// [DefaultHorizon]. A shorter one saves disk; a repeat that comes later than it
	// is stored and relayed again.
	Horizon time.Duration
	// MaxAge bounds how long after it was accepted a file is held; 0 means for
	// ever. [Spool.Expire] applies it.
	MaxAge time.Duration
	// GiveUp ranks a held file for being given up when room or time runs out: the
	// lowest rank goes first, then the oldest file; a negative rank never goes. Of u
	// it is told Seq, Kind, Size and Received alone. newest tells whether it is the
	// newest its device sent of that kind. A file that comes when there is no room
	// is ranked too, and makes none by giving up what ranks above it. Without GiveUp
	// nothing is ever given up for room, and everything for age.
	GiveUp func(u uploads.Upload, newest bool) int

	// Observe, if set, is told every event in the order of Event.Seq, after the
	// acknowledgement it belongs to. It must not block and not call the spool. What
	// Open itself finds out is told by Events only.
	Observe func(Event)
	// Log defaults to discarding.
	Log *slog.Logger
	// Disk defaults to the operating system's file system. Tests record its
	// operations and make them fail.
	Disk disk.Disk
	// Trace, if set, is told of acknowledgements, for tests that compare them
	// with what Disk has synced.
	Trace *Trace
}

// A Trace tells a test where in the files an upload lies. Its functions are
// called in the goroutine of the upload and may be nil.
type Trace struct {
	// Acked is called immediately before Accept returns success for bytes it
	// stored: the record occupies [from, to) of the named file, relative to the
	// spool; blob names the file with the body, if it has one of its own.
	Acked func(u uploads.Upload, file string, from, to int64, blob string)
}
