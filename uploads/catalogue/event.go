package catalogue

import (
	"iter"

	"inventorybeacon/uploads/spool"
)

// An Event is one fact of the journal. The catalogue asks of events that those
// of one journal have ascending Seq and that Accepted comes before whatever
// else happens to its upload.
type Event = spool.Event

// A Source is the journal being indexed.
type Source interface {
	// Events yields everything the journal knows with a Seq above after,
	// ascending. However often it is asked, it tells the same of what is still
	// within its horizon.
	Events(after uint64) iter.Seq2[Event, error]
}

var _ Source = (*spool.Spool)(nil)
