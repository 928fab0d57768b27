// Package fleet is the file in which a beacon tells those above it how it is and
// what it heard of its devices. It goes up through the beacon's own relay like any
// upload, so that whoever receives the file, or finds it in the store, can answer
// for machines that it never heard itself.
//
// A report is NDJSON, gzipped if it is long: a line about the beacon, then a line
// for each identity of a device whose state changed since the last report that was
// delivered. Reports of one beacon may be read in any order and more than once: of
// two words on a device the later counts.
package fleet

import (
	"strings"
	"time"

	"inventorybeacon/uploads"
)

// Version is the format of a report. Members may be added without a new one.
const Version = 1

// Kind is what reports are uploaded as.
const Kind = "BeaconStatus"

const extension = ".ndjson"

// A Beacon is the first line of a report: how the beacon is.
type Beacon struct {
	Version int `json:"version"`
	// Beacon is its identity, and At the time of the report by its clock.
	Beacon string    `json:"beacon"`
	At     time.Time `json:"at"`
	// EverySeconds is how often it reports.
	EverySeconds int64 `json:"every_seconds"`
	// Full says that all the beacon knows follows, and not only what changed.
	Full  bool  `json:"full,omitempty"`
	State State `json:"state"`
}

// A State is how a beacon is.
type State struct {
	Started  time.Time `json:"started"`
	Epoch    uint64    `json:"epoch,omitempty"`    // of the policy in force
	Revision uint64    `json:"revision,omitempty"` // 0 if none was published
	// Files and Bytes wait for the relay, the oldest since Oldest; Free is the room
	// for more.
	Files  int       `json:"files"`
	Bytes  int64     `json:"bytes"`
	Oldest time.Time `json:"oldest,omitzero"`
	Free   int64     `json:"free_bytes,omitempty"`
	// Trouble says why it does not take uploads.
	Trouble      string        `json:"trouble,omitempty"`
	Sinks        []Sink        `json:"sinks,omitempty"`
	Certificates []Certificate `json:"certificates,omitempty"`
}

// A Sink is how a destination of the beacon is doing.
type Sink struct {
	Name     string `json:"name"`
	Waiting  int    `json:"waiting"`
	SetAside int    `json:"set_aside,omitempty"`
	Failures int    `json:"failures,omitempty"` // in a row
	Stopped  bool   `json:"stopped,omitempty"`
	Error    string `json:"error,omitempty"`
}

// A Certificate is one that the beacon shows.
type Certificate struct {
	File    string    `json:"file"` // its name, without the folder
	Expires time.Time `json:"expires"`
}

// A Device is what a beacon heard of one identity of a device: the name together
// with an agent id, if it sent one.
type Device struct {
	Name    string    `json:"device"`
	Domain  string    `json:"domain,omitempty"`
	AgentID string    `json:"agent_id,omitempty"`
	Seen    time.Time `json:"seen"` // the last contact
	Address string    `json:"address,omitempty"`
	Version string    `json:"version,omitempty"`
	// Revision is the policy that it said it holds.
	Revision uint64 `json:"revision,omitempty"`
	// Spool is how many files wait on the machine, and Skew how many seconds its clock
	// is ahead; nil if it did not say.
	Spool *int64 `json:"spool,omitempty"`
	Skew  *int64 `json:"skew_seconds,omitempty"`
	Error string `json:"error,omitempty"`
	// Policy is how its last policy download was answered, and Refusal the last
	// upload that was turned away.
	Policy  *Answer `json:"policy,omitempty"`
	Refusal *Answer `json:"refusal,omitempty"`
	// Uploads is when the newest of each kind was accepted.
	Uploads map[string]time.Time `json:"uploads,omitempty"`
}

// An Answer is how one request was answered.
type Answer struct {
	At     time.Time `json:"at"`
	Status int       `json:"status"`
	Code   string    `json:"code,omitempty"`
	What   string    `json:"what,omitempty"`
}

// OfBeacon reports whether u is a beacon's report, whose name is no device's: its
// own, or one that came through a beacon.
func OfBeacon(u uploads.Upload) bool {
	return strings.EqualFold(u.Kind, Kind) && (len(u.Via) > 0 || u.Peer == "" && u.AgentID == "")
}

// fullTag is how the name of a report that holds everything tells it from others.
const fullTag = "full"

// IsFull reports whether the name is that of a report that holds all that its
// beacon knew.
func IsFull(n uploads.Name) bool { return n.Parts().Tag == fullTag }

// Name is that of a report. A name of a beacon that does not fit in a file's is
// replaced by its digest.
func Name(beacon string, at time.Time, full, gzipped bool) (uploads.Name, error) {
	ext, tag := extension, ""
	if full {
		tag = fullTag
	}
	if gzipped {
		ext += ".gz"
	}
	n, err := uploads.FileName(beacon, at.UTC(), tag, ext)
	if err != nil {
		n, err = uploads.FileName("beacon-"+uploads.DigestOf([]byte(beacon)).String()[:16], at.UTC(), tag, ext)
	}
	return n, err
}
