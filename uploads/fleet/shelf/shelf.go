// Package shelf reads the fleet status reports that other beacons put into a
// store, so that a beacon that they do not report to knows what they said.
//
// A store keeps reports for long, and tells of none that is new. So each round lists
// the days, by the dates in the names, in which new ones can be expected, and every
// few hours all that count. What is older, by the store's clock, than a cursor that
// outlives the process was read; what is younger and was read is remembered. Where a
// report holds everything, those before it are passed over. To read a report again
// changes nothing.
package shelf

import (
	"context"
	"hash/maphash"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/backoff"
	"inventorybeacon/uploads/objectstore"
)

const (
	// lookBack is how old reports may be that are looked for. More finds the last
	// word of a beacon that died longer ago; less lists less.
	lookBack = 30 * 24 * time.Hour
	// wholeEvery is how often all of it is listed. More often finds sooner what came
	// days late, from a beacon that was cut off; less often asks the store less.
	wholeEvery = 6 * time.Hour
	// late and early are how far the dates of reports may be off that each round finds.
	late, early = 6 * time.Hour, 2 * time.Hour
	// overlap is how far the cursor stays behind what was seen last: a store may show
	// what it got earlier behind what it got later, above all if it came in parts.
	overlap = time.Hour
	// maxSeen bounds what is remembered, at about 30 bytes each. What is forgotten is
	// read again.
	maxSeen = 1 << 19
	// maxStrikes is in how many rounds an object may fail while others can be read.
	maxStrikes = 5
	// maxFailures is how many failures in a row are taken for the store's.
	maxFailures = 20
	// maxPages bounds the listing of a day: a million reports.
	maxPages = 1000
	// retryMost bounds the wait after a failure. Less notices the store's return
	// sooner, more spares it.
	retryMost = 5 * time.Minute
)

// A Store holds reports.
type Store interface {
	// List returns some of a day's files of a kind, from the one behind after on, and
	// where to go on; that is empty at the end.
	List(ctx context.Context, kind string, day time.Time, after string) (found []objectstore.Object, next string, err error)
	// Read returns what is known of a file, with the way that it came as Via, and its
	// bytes, which are verified as they are read.
	Read(ctx context.Context, kind string, o objectstore.Object) (uploads.Upload, io.ReadCloser, error)
}

var _ Store = (*objectstore.Reader)(nil)

// Options say what is read and who is told.
type Options struct {
	// Name is the store's, for the log, and Where says which it is: another Where is
	// read from the beginning.
	Name, Where string
	Store       Store
	// Every is how often it is looked for new reports.
	Every time.Duration
	// Self is this beacon's identity: what it wrote or passed on is not read.
	Self string
	// MaxBytes is how large a report may be.
	MaxBytes int64
	// Dir is where the cursor is kept, and a report while it is verified.
	Dir string
	// Index returns the number of the index that is told: another one is told
	// everything.
	Index func(context.Context) (int64, error)
	// Tell takes a report and says whether it holds all that its beacon knows. An
	// error that matches fleet.ErrReport is the report's, and any other one ours.
	Tell func(context.Context, uploads.Upload, uploads.Body) (full bool, err error)
	// Log defaults to discarding.
	Log *slog.Logger
}

// A Status is how reading goes.
type Status struct {
	Name          string
	Read, Refused uint64 // reports
	Failures      int    // rounds, in a row
	Error         string
	Success       time.Time // of the last round
}

// A Shelf reads from one store. Run does it.
type Shelf struct {
	o      Options
	cursor cursor
	whole  time.Time // when all was listed last, or zero
	seed   maphash.Seed
	seen   map[uint64]int64 // objects that were read, and when they were put there
	struck map[uint64]int   // those that failed, and how often

	mu     sync.Mutex
	status Status
}

// New returns a shelf that has read what an earlier one in the same directory had.
// A cursor that cannot be read is one that says nothing.
func New(o Options) *Shelf {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Shelf{o: o, seed: maphash.MakeSeed(), seen: map[uint64]int64{}, struck: map[uint64]int{}, status: Status{Name: o.Name}}
	s.load()
	return s
}

// Status returns how reading goes.
func (s *Shelf) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Run reads until ctx is done. Failures are tried again for ever.
func (s *Shelf) Run(ctx context.Context) error {
	retry := backoff.Backoff{Min: s.o.Every, Max: max(retryMost, s.o.Every)}
	wait := rand.N(min(s.o.Every, 30*time.Second)) // beacons that were started together do not ask together
	for backoff.Sleep(ctx, wait) {
		err := s.round(ctx, time.Now())
		if ctx.Err() != nil {
			break
		}
		wait = s.o.Every
		if n := s.note(err, time.Now()); n > 0 {
			wait = max(retry.Delay(n), min(s.o.Every, time.Second))
		}
	}
	return ctx.Err()
}

// note keeps how a round went, and returns how many failed in a row. The log tells
// of changes alone.
func (s *Shelf) note(err error, now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	failing := s.status.Failures > 0
	if err == nil {
		s.status.Failures, s.status.Error, s.status.Success = 0, "", now
		if failing {
			s.o.Log.Info("fleet status in the store is read again", slog.String("store", s.o.Name))
		}
		return 0
	}
	s.status.Failures++
	s.status.Error = err.Error()
	if !failing {
		s.o.Log.Warn("fleet status in the store cannot be read: it is tried again", slog.String("store", s.o.Name), slog.Any("err", err))
	}
	return s.status.Failures
}

func (s *Shelf) count(change func(*Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.status)
}

// mark tells one content of one object from others. That two are the same is as
// unlikely as that a report is lost, and then the next full one tells it.
func (s *Shelf) mark(o objectstore.Object) uint64 {
	return maphash.Comparable(s.seed, struct {
		key, etag string
		size      int64
	}{o.Key, o.ETag, o.Size})
}

func (s *Shelf) remember(o objectstore.Object) {
	if len(s.seen) >= maxSeen {
		clear(s.seen)
	}
	s.seen[s.mark(o)] = o.Modified.Unix()
}
