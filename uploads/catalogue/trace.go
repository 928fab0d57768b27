package catalogue

import "time"

// A Trace is everything the catalogue knows about what somebody calls a device.
type Trace struct {
	Query string `json:"query"`
	// Devices are the machines that fit; more than one if the name exists in
	// several domains, or if several sit behind one address.
	Devices []Device `json:"devices"`
	// Strangers polled under the name, or from the address, but no upload of
	// theirs was ever accepted.
	Strangers []Contact `json:"strangers"`
	// Uploads are the newest of these devices, of any state.
	Uploads []Upload `json:"uploads"`
	// Waiting are the oldest in the queue, and WaitingCount how many there are.
	Waiting      []Upload `json:"waiting"`
	WaitingCount int64    `json:"waiting_count"`
	Losses       []Loss   `json:"losses"`
	// Sinks are the relay's destinations.
	Sinks []Sink `json:"sinks"`
	// Since is when this index began to hear contacts: before that, silence
	// means nothing.
	Since time.Time `json:"since"`
}

// A Verdict says in one line why a device has or has not reported, and in
// another what to do.
type Verdict struct {
	Code  VerdictCode `json:"code"`
	Text  string      `json:"text"`
	Do    string      `json:"do,omitempty"`
	Notes []string    `json:"notes,omitempty"` // other things worth a look
}

// A VerdictCode names the case, for programs.
type VerdictCode string

const (
	NeverHeard VerdictCode = "never-heard" // nothing is known of it
	OnlyPolls  VerdictCode = "only-polls"  // it polls but never uploaded
	InQueue    VerdictCode = "waiting"     // uploaded; a sink does not have it yet
	Reported   VerdictCode = "reported"    // its newest upload is delivered
	Refused    VerdictCode = "refused"     // its last upload was turned away
	Rejected   VerdictCode = "quarantined" // accepted here, refused further up
	WasLost    VerdictCode = "lost"        // accepted here, lost since
	Silent     VerdictCode = "silent"      // not heard of for long
	Ambiguous  VerdictCode = "ambiguous"   // several machines fit
)

// Verdict says why the device has or has not reported. It looks at nothing but
// t and now.
func (t Trace) Verdict(now time.Time) Verdict { return Verdict{} }
