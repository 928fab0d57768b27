package catalogue

import (
	"iter"
	"time"

	"inventorybeacon/uploads"
)

// Happening says what an event is about.
type Happening uint8

const (
	// Accepted is the arrival of an upload; Upload is complete.
	Accepted Happening = iota + 1
	// Delivered means that Sink holds the upload durably, as Custody says.
	Delivered
	// Done means that the upload left the queue because every required sink has it.
	Done
	// Lost means that the upload left the queue in any other way: Reason says which.
	Lost
)

// Reasons for a loss that the catalogue tells apart. Others are shown as they come.
const (
	ReasonQuota    = "quota"    // the queue was over its bytes
	ReasonAge      = "age"      // it waited longer than is allowed
	ReasonRefused  = "refused"  // the destination will never take it; kept in quarantine
	ReasonOperator = "operator" // somebody removed it by hand
	ReasonDamaged  = "damaged"  // its bytes on disk are no longer the ones acknowledged
)

// An Event is one thing the journal knows.
type Event struct {
	// Pos orders events: an event is indexed after all with a lower Pos, and
	// none is looked at twice. It is what [Source.Events] continues after.
	Pos  uint64
	What Happening
	// Upload is the whole upload for Accepted. Otherwise Seq is set, and as much
	// as the journal still knows, for a loss whose upload was never indexed.
	Upload  uploads.Upload
	Sink    string
	Custody []uploads.Custody
	// At is when it happened; for Accepted it is the upload's Received.
	At     time.Time
	Reason string
}

// A Source is the journal being indexed.
type Source interface {
	// Events yields everything with a position above after, ascending. It
	// answers the same however often it is asked.
	Events(after uint64) iter.Seq2[Event, error]
}
