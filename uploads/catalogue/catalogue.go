// Package catalogue is the beacon's index of what its journal and its agents
// told: uploads and where they have got to, devices and their last contact,
// losses. It answers "what arrived?" and "why has this machine not reported?".
//
// It is an index and nothing more. Acknowledgements, the relay and the question
// whether a file was here before never wait for it: it is written in batches
// behind them by [Catalogue.Run], from what [Catalogue.Observe] and
// [Catalogue.Seen] put into bounded buffers. If events come faster than they can
// be written they are dropped and read again from the journal. A catalogue that is
// missing or damaged is made anew and filled from the journal; only what agents
// said of themselves since is then unknown until they call again.
//
// The file is SQLite in WAL mode. Nothing else in the process may open it.
package catalogue

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Errors that callers act on.
var (
	// ErrNewer means the file was written by a later version of this program.
	// It has not been touched.
	ErrNewer = errors.New("catalogue is newer than this program")
	// ErrForeign means the file is a database of something else. It has not
	// been touched.
	ErrForeign = errors.New("not a catalogue")
	// ErrAmbiguous means a receipt prefix fits several uploads.
	ErrAmbiguous = errors.New("ambiguous")
)

// A Sink is one destination of the relay, as the catalogue needs to know it to
// say what an upload is waiting for.
type Sink struct {
	Name     string   `json:"name"`
	Required bool     `json:"required"`
	Kinds    []string `json:"kinds,omitempty"` // none means all
}

func (s Sink) takes(kind string) bool {
	return len(s.Kinds) == 0 || slices.ContainsFunc(s.Kinds, func(k string) bool { return strings.EqualFold(k, kind) })
}

// Options are what a catalogue is opened with; zero values mean the defaults.
type Options struct {
	// Sinks are the relay's destinations.
	Sinks []Sink
	// MaxDevices bounds the devices known (default 200,000). More take about 1
	// KiB of disk each; above it, uploads are indexed without their device.
	MaxDevices int
	// DevicesPerPeer bounds how many devices one address may introduce (default
	// 1,000): more lets one liar fill the table, fewer cuts off the machines
	// behind one large address translation. DevicesPerChild (default 50,000)
	// is the same for a beacon below this one.
	DevicesPerPeer, DevicesPerChild int
	// MaxStrangers bounds the names and addresses that polled but never had an
	// upload accepted (default 20,000); the oldest make room.
	MaxStrangers int
	// Horizon is how long an upload stays listed after it left the queue
	// (default 90 days, as receipts). Longer costs about 1 KiB of disk an upload.
	Horizon time.Duration
	// Log gets what a person should know; nil discards it.
	Log *slog.Logger
}

// Stats are counters since the catalogue was opened, for metrics.
type Stats struct {
	Position         uint64 // how far the journal is indexed
	Indexed          uint64 // events
	CaughtUp         uint64 // times that dropped events were read again
	Batches          uint64 // transactions of events
	Contacts         uint64 // sightings that were written, or joined another before that
	ContactsDropped  uint64 // sightings given up because the buffer was full
	Recreated        uint64 // times a damaged file was replaced
	Failures         uint64 // batches that could not be written and are tried again
	Queue, QueueSize int    // events buffered, and the most that can be
}

// Counts is the catalogue in numbers.
type Counts struct {
	Uploads     map[State]int64 `json:"uploads"`
	Bytes       map[State]int64 `json:"bytes"`
	Devices     int64           `json:"devices"`
	Losses      int64           `json:"losses"`
	OpenLosses  int64           `json:"open_losses"`
	Strangers   int64           `json:"strangers"`
	OtherNames  int64           `json:"other_uploads"`  // accepted uploads whose device was over a cap
	OtherPolls  int64           `json:"other_contacts"` // contacts given up over a cap
	OldestQueue time.Time       `json:"oldest_waiting,omitzero"`
	Position    uint64          `json:"position"`
}
