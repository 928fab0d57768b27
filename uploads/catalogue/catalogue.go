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
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	// Beacon is who heard what is recorded here directly.
	Beacon string
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
	// upload accepted (default 20,000; the oldest make room), and
	// StrangersPerPeer those of one address (default 1,000; the rest is counted).
	MaxStrangers, StrangersPerPeer int
	// Horizon is how long an upload stays listed after it left the queue
	// (default [DefaultHorizon], as receipts). Longer costs about 1 KiB of disk an upload.
	Horizon time.Duration
	// KindHorizons are shorter ones for some kinds.
	KindHorizons map[string]time.Duration
	// MaxUploads bounds the uploads listed; 0 means no bound. The oldest that left
	// the queue make room. They are counted now and then: for a while there may be
	// more.
	MaxUploads int64
	// Log gets what a person should know; nil discards it.
	Log *slog.Logger
}

// DefaultHorizon is how long uploads stay listed, and Forever that they are not
// forgotten.
const (
	DefaultHorizon = 90 * 24 * time.Hour
	Forever        = 100 * 365 * 24 * time.Hour
)

func (o Options) withDefaults() Options {
	o.MaxDevices = cmp.Or(o.MaxDevices, 200_000)
	o.DevicesPerPeer = cmp.Or(o.DevicesPerPeer, 1_000)
	o.DevicesPerChild = cmp.Or(o.DevicesPerChild, 50_000)
	o.MaxStrangers = cmp.Or(o.MaxStrangers, 20_000)
	o.StrangersPerPeer = cmp.Or(o.StrangersPerPeer, 1_000)
	o.Horizon = cmp.Or(o.Horizon, DefaultHorizon)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// A Catalogue is an open index. All its methods may be called by several
// goroutines at once.
type Catalogue struct {
	file string
	o    Options
	log  *slog.Logger

	mu    sync.RWMutex // held to read while store is used, to write while it is replaced
	store *store

	writing  sync.Mutex // one writer at a time; guards what follows
	position atomic.Uint64
	devices  int  // rows in the table
	compared bool // the journal is the one that was indexed
	broken   bool // a reindex ended early: what follows its end is not the next

	backlog   backlog
	wake      chan struct{}
	syncs     chan chan error
	suspect   chan error // a query found damage
	sightings sightings

	counters counters
}

// Open opens the file, or makes it. A damaged one is renamed to end in
// ".damaged" and made anew; one of a later version of this program, or of
// another, gives [ErrNewer] or [ErrForeign] and is not touched.
func Open(ctx context.Context, file string, o Options) (*Catalogue, error) {
	o = o.withDefaults()
	c := &Catalogue{
		file: file, o: o, log: o.Log,
		backlog: backlog{size: backlogSize},
		wake:    make(chan struct{}, 1),
		syncs:   make(chan chan error),
		suspect: make(chan error, 1),
	}
	err := c.open(ctx)
	if damaged(err) {
		err = c.recreate(ctx, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open catalogue %s: %w", file, err)
	}
	return c, nil
}

// open opens the store. The caller has c to itself, or holds mu and writing.
func (c *Catalogue) open(ctx context.Context) error {
	s, err := openStore(ctx, c.file)
	if err != nil {
		return err
	}
	var position uint64
	const look = `SELECT coalesce((SELECT value FROM meta WHERE key = 'position'), 0), (SELECT count(*) FROM devices)`
	if err := s.w.QueryRowContext(ctx, look).Scan(&position, &c.devices); err != nil {
		return errors.Join(err, s.close())
	}
	const since = `INSERT OR IGNORE INTO meta VALUES ('since', ?)`
	if _, err := s.w.ExecContext(ctx, since, time.Now().UnixMilli()); err != nil {
		return errors.Join(err, s.close())
	}
	c.store = s
	c.position.Store(position)
	c.compared = false
	c.backlog.fail() // the journal may hold more
	return nil
}

// recreate sets a damaged file aside and makes another.
func (c *Catalogue) recreate(ctx context.Context, cause error) error {
	c.log.Error("catalogue is damaged and made anew from the journal; contacts are unknown until agents call again",
		"file", c.file, "kept_as", c.file+".damaged", "error", cause)
	c.counters.recreated.Add(1)
	if c.store != nil {
		_ = c.store.close() // it is damaged: nothing in it is wanted
		c.store = nil
	}
	if err := setAside(c.file); err != nil {
		return err
	}
	return c.open(ctx)
}

// Close closes the file. [Catalogue.Run] must have returned.
func (c *Catalogue) Close() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.store == nil {
		return nil
	}
	err := c.store.close()
	c.store = nil
	return err
}

// Position is how far the journal is indexed.
func (c *Catalogue) Position() uint64 { return c.position.Load() }
