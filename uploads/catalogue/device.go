package catalogue

import (
	"time"
)

// A Device is what is known of one machine.
type Device struct {
	Domain string `json:"domain"`
	Name   string `json:"name"`
	// FirstSeen and LastSeen span its uploads and its contacts.
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	// Uploads and Bytes count what was accepted from it, ever.
	Uploads int64      `json:"uploads"`
	Bytes   int64      `json:"bytes"`
	Kinds   []Activity `json:"kinds"`
	// Contacts are the identities under which it spoke to this beacon, the
	// latest first: one in ordinary life. Empty if all it sent came through
	// another beacon.
	Contacts []Contact `json:"contacts"`
	// Beacon is who heard it last, and Heard as of when that is known if it is
	// another beacon's word. Told is what other beacons heard of it, the latest first.
	Beacon string    `json:"beacon,omitempty"`
	Heard  time.Time `json:"heard,omitzero"`
	Told   []Told    `json:"told,omitempty"`
	// Clone says that two machines seem to share a name, or an identity; what
	// is known of them stays apart in Contacts. CloneDetail says it in words.
	Clone       bool   `json:"clone,omitempty"`
	CloneDetail string `json:"clone_detail,omitempty"`
}

// OnlyTold reports whether all that is known of it is what other beacons said: no
// file of it came here, and it did not call.
func (d Device) OnlyTold() bool { return d.Uploads == 0 && len(d.Contacts) == 0 && len(d.Told) > 0 }

// Latest returns the contact that was last heard of, or a zero Contact.
func (d Device) Latest() Contact {
	if len(d.Contacts) == 0 {
		return Contact{Spool: -1}
	}
	return d.Contacts[0]
}

// Activity is what a device sent of one kind.
type Activity struct {
	Kind    string    `json:"kind"`
	Uploads int64     `json:"uploads"`
	Bytes   int64     `json:"bytes"`
	Last    time.Time `json:"last"` // when the newest was accepted
	LastSeq uint64    `json:"last_seq"`
}

// A Contact is the last that was heard from one identity: a device's name
// together with an agent id, which is empty where the client sends none.
type Contact struct {
	Domain  string `json:"domain"`
	Name    string `json:"name"`
	AgentID string `json:"agent_id,omitempty"`

	FirstSeen time.Time `json:"first_seen,omitzero"`
	LastSeen  time.Time `json:"last_seen"`
	Requests  int64     `json:"requests"`
	Address   string    `json:"address"`
	Version   string    `json:"version,omitempty"`
	// Revision and Digest name the policy the agent said it holds.
	Revision uint64 `json:"revision,omitempty"`
	Digest   string `json:"digest,omitempty"`
	// Spool is how many files wait on the agent, -1 if it did not say.
	Spool int64 `json:"spool"`
	// Skew is how far the agent's clock is ahead of this beacon's, to the
	// second; meaningless unless SkewKnown.
	Skew      time.Duration `json:"skew_ns,omitempty"`
	SkewKnown bool          `json:"skew_known"`
	Error     string        `json:"error,omitempty"`

	// Policy is how its last policy download was answered, and Refusal the last
	// upload of it that was turned away; both zero if there was none.
	Policy  Answer `json:"policy,omitzero"`
	Refusal Answer `json:"refusal,omitzero"`
}

// An Answer is how one request was answered.
type Answer struct {
	At     time.Time `json:"at"`
	Status int       `json:"status"`
	Code   string    `json:"code,omitempty"` // of the problem document
	What   string    `json:"what,omitempty"` // the path or file asked for, shortened
}

// IsZero reports whether there was no such request.
func (a Answer) IsZero() bool { return a.At.IsZero() }

// DeviceFilter selects devices; the zero value selects all.
type DeviceFilter struct {
	// Text is part of a name or domain, in any case, or an address.
	Text string
	// SilentSince selects devices not heard of since then; Since the others.
	SilentSince time.Time
	Since       time.Time
	Clones      bool // only clones
	Order       DeviceOrder
	Limit       int // 0 means [DefaultLimit]
	Offset      int
}

// A DeviceOrder says how a listing of devices is sorted.
type DeviceOrder string

const (
	ByName   DeviceOrder = "name"
	BySeen   DeviceOrder = "seen"   // the latest heard of first
	BySilent DeviceOrder = "silent" // the longest silent first
	ByBytes  DeviceOrder = "bytes"  // the largest sender first
)
