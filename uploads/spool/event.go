package spool

import (
	"time"

	"inventorybeacon/uploads"
)

// What is an event about a file.
type What string

// The events of a file's life.
const (
	Accepted  What = "accepted"
	Delivered What = "delivered" // to one sink
	Lost      What = "lost"      // it left without being delivered
	Flagged   What = "flagged"   // a check found something; it stays and is relayed
	Refused   What = "refused"   // one sink will never take it; others go on
	Replaced  What = "replaced"  // it left because a newer file holds all that it held
	Learnt    What = "learnt"    // custody that was heard of later, perhaps after it left
)

// Reasons why a file left without being delivered.
const (
	LossQuota    = "quota"    // given up for room
	LossAge      = "age"      // given up because it was too old
	LossRefused  = "refused"  // a destination or check will never take it; it is in quarantine
	LossOperator = "operator" // taken out by hand
	LossDamaged  = "damaged"  // the disk did not keep it
)

// An Event is one fact about an upload, as the journal and the receipts keep it.
type Event struct {
	// Seq orders events; for Accepted it is the upload's own.
	Seq  uint64
	What What
	At   time.Time // UTC, whole milliseconds
	// Upload is the file. After damage only its Seq may be known, and of what is
	// learnt of a file that left a while ago only its Seq is told.
	Upload uploads.Upload
	// Sink took the file, with Custody as it told (Delivered), or refused it
	// (Refused). Custody without a Sink is what was learnt later (Learnt).
	Sink    string
	Custody []uploads.Custody
	// Left says that the spool does not hold the file any longer.
	Left bool
	// Reason is one of the Loss constants (Lost), Detail the words for a person
	// (Lost, Flagged, Refused, Replaced).
	Reason, Detail string
}

// A Mark says that a sink has a file.
type Mark struct {
	Seq     uint64
	Custody []uploads.Custody // what the sink told of who has it; may be empty
}

// A Cut is the end of a segment that no acknowledgement depended on and that an
// open, or a failed sync, left out of the journal for good.
type Cut struct {
	Segment    string
	Generation uint64
	First      uint64 // no number from here on counts in that segment
}

// Recovery is what Open found.
type Recovery struct {
	// Clean says that the spool had been closed, or is new.
	Clean bool
	// Segments hold records, Spares are ready for some.
	Segments, Spares int
	// Records were read, Pending files are still to be delivered.
	Records, Pending int
	// Receipts outlived their files.
	Receipts int
	// Cuts were made now.
	Cuts []Cut
	// Lost are the losses found now: an acknowledged record is unreadable.
	Lost []Event
	// DamagedReceipts is how many receipts of delivered files are unreadable.
	DamagedReceipts int
	// Unknown files were left alone.
	Unknown []string
	// Orphans is how many unfinished files of ours were removed.
	Orphans int
}

// Stats are the spool's numbers at one instant.
type Stats struct {
	Pending      int   // files held for delivery
	PendingBytes int64 // their bodies
	Oldest       time.Time
	Sinks        map[string]SinkStats

	Segments     int   // journal files with records
	Spares       int   // journal files ready for use
	SegmentBytes int64 // both, on disk
	SpareBytes   int64 // free for uploads without taking disk
	Blobs        int   // bodies in files of their own
	BlobBytes    int64

	Budget, BudgetUsed int64 // memory for bodies being collected
	InFlight           int   // uploads being accepted
	Receipts           int   // of files that are gone
	DamagedReceipts    int   // parts of their files that turned out to be unreadable

	// Counters since Open.
	Accepted, Duplicates, Delivered uint64
	Lost                            map[string]uint64 // by reason
	Syncs, SyncErrors               uint64
	SegmentsSealed, SegmentsFreed   uint64
}

// SinkStats are the numbers of one sink.
type SinkStats struct {
	Pending int
	Bytes   int64
	Oldest  time.Time
	Skipped uint64 // files that left without this optional sink, since Open
}
