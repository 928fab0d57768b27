package agentside

import (
	"time"

	"inventorybeacon/agentside/datadir"
	"inventorybeacon/agentside/outbox"
)

// StatusFormat is the version of state/status.json. A reader takes older ones
// and refuses newer ones.
const StatusFormat = 1

// Status is what an agent says of itself, as state/status.json holds it. It is
// written when something changes and readable while the agent is stopped.
type Status struct {
	Format  int       `json:"format"`
	Updated time.Time `json:"updated"`
	// Holder is the process that owns the data directory now; nil if none does.
	// It is found when the status is read.
	Holder  *datadir.Holder  `json:"holder,omitempty"`
	Version string           `json:"version"`
	Device  string           `json:"device"`
	Domain  string           `json:"domain"`
	AgentID string           `json:"agent_id"`
	Policy  PolicyStatus     `json:"policy"`
	Events  []EventStatus    `json:"events"`
	Outbox  OutboxStatus     `json:"outbox"`
	Beacons []LocationStatus `json:"beacons"` // in the order they would be asked
	// Warnings are what the policy asks for that this agent does not do.
	Warnings []string `json:"warnings,omitempty"`
}

// PolicyStatus is what the agent obeys and how it came by it.
type PolicyStatus struct {
	Held      bool      `json:"held"` // false: the built-in schedule runs
	Revision  string    `json:"revision,omitempty"`
	Publisher string    `json:"publisher,omitempty"`
	Epoch     uint64    `json:"epoch,omitempty"`
	Number    uint64    `json:"number,omitempty"`
	Digest    string    `json:"digest,omitempty"` // SHA-256 over the policy document
	Taken     time.Time `json:"taken,omitzero"`   // when it was verified and put in force
	From      string    `json:"from,omitempty"`   // the beacon it came from
	LastTry   time.Time `json:"last_try,omitzero"`
	LastGood  time.Time `json:"last_good,omitzero"` // last answer that settled what is in force
	Failures  int       `json:"failures,omitempty"` // tries in a row that did not
	Error     string    `json:"error,omitempty"`    // of the last try
	NextTry   time.Time `json:"next_try,omitzero"`  // while failing
}

// EventStatus is one event of the schedule in force.
type EventStatus struct {
	Name    string    `json:"name"`
	Run     string    `json:"run"`
	BuiltIn bool      `json:"built_in,omitempty"` // not the policy's, the agent's own
	Next    time.Time `json:"next,omitzero"`      // zero: never by the clock
	Last    time.Time `json:"last,omitzero"`      // when it last began
	Error   string    `json:"error,omitempty"`    // of that run
}

// OutboxStatus is what waits to be sent.
type OutboxStatus struct {
	Waiting int       `json:"waiting"` // files on their way
	Bytes   int64     `json:"bytes"`
	Oldest  time.Time `json:"oldest,omitzero"`
	// Held of the waiting files are with a beacon already, and kept until they are
	// where the policy wants them (ForgetAt).
	Held      int       `json:"held,omitempty"`
	HeldBytes int64     `json:"held_bytes,omitempty"`
	ForgetAt  string    `json:"forget_at"`
	NextAsk   time.Time `json:"next_question,omitzero"` // about one of them
	LastAck   time.Time `json:"last_receipt,omitzero"`  // when a beacon's receipt last came
	Error     string    `json:"error,omitempty"`        // of the last attempt, while failing
	NextTry   time.Time `json:"next_try,omitzero"`
	// Aside are files that a beacon refused, or that fail by themselves; they are
	// kept. The refused ones are offered again when the policy or the beacon
	// changes, and once a day.
	Aside []AsideFile `json:"aside,omitempty"`
	// Stuck are files in the outbox folder that cannot be sent as they are.
	Stuck []outbox.Stuck `json:"stuck,omitempty"`
	// Lost counts the files given up since this process started, by reason; the
	// log names each.
	Lost map[string]uint64 `json:"lost,omitempty"`
}

// AsideFile is a file that is not sent for now, and why.
type AsideFile struct {
	Kind   string    `json:"kind"`
	File   string    `json:"file"`
	State  string    `json:"state"` // set aside, deferred or failing
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	Again  time.Time `json:"again,omitzero"`
}

// LocationStatus is one beacon as the agent sees it.
type LocationStatus struct {
	Name     string    `json:"name"`
	Download string    `json:"download,omitempty"`
	Upload   string    `json:"upload,omitempty"`
	Down     time.Time `json:"resting_until,omitzero"` // avoided until then unless no other answers
	Error    string    `json:"error,omitempty"`
	InUse    bool      `json:"in_use,omitempty"` // answered last
}
