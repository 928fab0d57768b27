package catalogue

import (
	"time"

	"inventorybeacon/uploads"
)

// A State is how far an upload has come.
type State string

const (
	StateWaiting     State = "waiting"     // in the queue
	StateDelivered   State = "delivered"   // every required sink has it
	StateReplaced    State = "replaced"    // a newer report of this beacon held all that it held
	StateQuarantined State = "quarantined" // the destination refused it; its bytes are kept
	StateLost        State = "lost"        // it left the queue in any other way
)

// States lists all states, in the order a file goes through them.
var States = []State{StateWaiting, StateDelivered, StateReplaced, StateQuarantined, StateLost}

// An Upload is what the index knows of one accepted file.
type Upload struct {
	Seq       uint64         `json:"seq"`
	Receipt   string         `json:"receipt"`
	Kind      string         `json:"kind"`
	Name      string         `json:"name"`
	Device    string         `json:"device"`
	Domain    string         `json:"domain"`
	AgentID   string         `json:"agent_id,omitempty"`
	SHA256    uploads.Digest `json:"sha256"`
	Bytes     int64          `json:"bytes"`
	Received  time.Time      `json:"received"`
	Modified  time.Time      `json:"modified,omitzero"`
	Beacon    string         `json:"beacon"`
	Via       []string       `json:"via,omitempty"`
	Peer      string         `json:"peer"`
	Recovered bool           `json:"recovered,omitempty"`

	State State `json:"state"`
	// Ended is when it left the queue, if that is known; Reason (one of the
	// spool's Loss constants) and Detail say why if it was lost.
	Ended  time.Time `json:"ended,omitzero"`
	Reason string    `json:"reason,omitempty"`
	Detail string    `json:"detail,omitempty"`
	// Flag is what a check found in it, or why there was none.
	Flag string `json:"flag,omitempty"`
	// Resent is the sequence number under which the same bytes arrived again
	// after a loss; 0 if they did not.
	Resent uint64 `json:"resent,omitempty"`
	// Kept says that its bytes, or the same ones sent again, lie in kept/.
	Kept bool `json:"kept,omitempty"`
	// Deliveries are the sinks that have it, in the order they took it, and Refusals
	// those that will never take it.
	Deliveries []Delivery `json:"deliveries"`
	Refusals   []Refusal  `json:"refusals,omitempty"`
	// Learnt is who else was heard of later to have it.
	Learnt []uploads.Custody `json:"learnt,omitempty"`
}

// A Delivery is one sink's durable copy.
type Delivery struct {
	Sink    string            `json:"sink"`
	At      time.Time         `json:"at"`
	Custody []uploads.Custody `json:"custody,omitempty"`
}

// MissingFrom returns which of the sinks that take u's kind do not have it and
// may still get it.
func (u Upload) MissingFrom(sinks []Sink) (missing []Sink) {
	for _, s := range sinks {
		if s.takes(u.Kind) && !u.heldBy(s.Name) && !u.refusedBy(s.Name) {
			missing = append(missing, s)
		}
	}
	return missing
}

func (u Upload) heldBy(sink string) bool {
	for _, d := range u.Deliveries {
		if d.Sink == sink {
			return true
		}
	}
	return false
}

// UploadFilter selects uploads; the zero value selects all.
type UploadFilter struct {
	// Device is a name, or DOMAIN/name, in any case.
	Device string
	Kind   string // in any case
	Since  time.Time
	// State selects by state. Files that were lost or quarantined and arrived
	// again since count under their new sequence number alone.
	State State
	// Flagged selects those in which a check found something.
	Flagged bool
	// Kept selects those whose bytes lie in kept/.
	Kept bool
	// Limit is the most uploads returned, newest first; 0 means [DefaultLimit].
	Limit int
}

// DefaultLimit bounds a listing that gives no limit, and MaxLimit one that
// does, so that no question can hold the whole index in memory.
const (
	DefaultLimit = 100
	MaxLimit     = 100_000
)
