// Package spool keeps uploads on disk between the sender, who gets a receipt
// once they are durable, and the relay, which takes them on.
//
// Uploads are appended to a journal of segment files (package journal). A
// handler reserves a range, writes it itself, and waits; one sync acknowledges
// every range written while the one before it ran. A journal is replayed when it
// is opened, and what is delivered is freed a segment at a time, after its
// receipts have moved to a file of their own (package receipts).
//
//	Accept: collect -> reserve -> write -> sync -> receipt
//	upkeep: seal -> receipts -> marks -> new generation -> spare
//
// The directory holds segments/, blobs/ (large bodies), receipts/, a lock, the
// version of the whole, and unfinished/, whose files belong to somebody else until
// they are adopted. Nothing in it that the spool did not write is
// touched.
package spool

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/disk"
	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/receipts"
	"inventorybeacon/uploads/spool/register"
)

// archive is what the spool needs of the place where receipts go when their
// segment is freed.
type archive interface {
	Find(receipts.NameID) (*receipts.Entry, error)
	FindExact(receipts.FileID) (*receipts.Entry, error)
	// Append replaces what is known of uploads with the same Seq.
	Append([]*receipts.Entry) error
	Events(after uint64) iter.Seq2[receipts.Event, error]
	Losses(after uint64, limit int) ([]receipts.Event, error)
	Prune(before time.Time) error
	Len() int
	Damaged() int
	Last() uint64
	Close() error
}

// A Spool is a directory of accepted uploads. One process owns it.
// All methods may be called by several goroutines at once.
type Spool struct {
	o        Options
	log      *slog.Logger
	disk     disk.Disk
	lock     *flock.Flock
	archive  archive
	budget   *budget
	recovery Recovery
	inline   int64 // the largest body that goes into the journal
	recent   recent
	reserved atomic.Bool // the reserve is there

	// baton is held by whoever syncs and tells observers.
	baton chan struct{}
	// delivering is held while deliveries are recorded: whether a file leaves with
	// one depends on those before it, and the record has to say so.
	delivering sync.Mutex

	mu sync.Mutex
	// The journal.
	active         *segment
	group          *group // open for records
	groups         []*group
	segments       []*segment // with records, the active one included
	byID           []*segment // the same by number; nil where the number is free
	spares         []*segment
	surplus        []*segment // free, to be made spares or removed
	turning        chan struct{}
	next, mark     uint64
	lastGeneration uint64
	nextFile       uint64
	cuts           []journal.Cut // not yet recorded
	replaying      bool          // the mark stays where it is
	ackEarly       bool          // the bug that the tests' checker must find
	// The uploads whose records are on disk.
	register    *register.Register
	marks       register.Marks
	kinds       kinds
	stale       map[uint64][]*segment // which hold older records of copied uploads
	learnt      map[uint64]uint32     // marks of uploads whose records are gone
	losses      []lossRef             // of entries, in the order of their events
	flights     map[receipts.FileID]*flight
	sinks       []*sink
	held        queue // every file that has not left
	usage       *register.Sums
	booked      int64 // bytes of uploads being written
	bookedFiles int
	// What is going on, and the end.
	uploads   int        // operations that Close waits for
	appending int        // records being written or waiting for their sync
	idle      *sync.Cond // uploads, appending or upkeep became less
	closed    bool
	upkeep    upkeep
	counters  counters
}

// Open opens the spool in dir, or makes one, and replays its journal. Errors
// match [journal.ErrNewer] if a newer version wrote it; then, as after any
// error before the replay, nothing has been changed.
func Open(dir string, o Options) (*Spool, error) {
	if len(o.Sinks) > MaxSinks {
		return nil, fmt.Errorf("open spool: %d sinks; %d are possible", len(o.Sinks), MaxSinks)
	}
	d, err := disk.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	if o.Disk != nil {
		d.Close()
		d = o.Disk
	}
	lock := flock.New(filepath.Join(dir, "lock"))
	if ok, err := lock.TryLock(); err != nil || !ok {
		d.Close()
		return nil, fmt.Errorf("open spool %s: %w", dir, errors.Join(errInUse, err))
	}
	s := newSpool(d, lock, o)
	if err := s.open(); err != nil {
		s.release()
		return nil, fmt.Errorf("open spool %s: %w", dir, err)
	}
	return s, nil
}

var errInUse = errors.New("another process uses it")

func newSpool(d disk.Disk, lock *flock.Flock, o Options) *Spool {
	s := &Spool{
		o: o, log: o.Log, disk: d, lock: lock,
		baton:    make(chan struct{}, 1),
		register: register.New(),
		byID:     []*segment{nil},
		stale:    map[uint64][]*segment{},
		learnt:   map[uint64]uint32{},
		flights:  map[receipts.FileID]*flight{},
		usage:    register.NewSums(),
		next:     1, nextFile: 1,
	}
	s.idle = sync.NewCond(&s.mu)
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for i, n := range o.Sinks {
		s.sinks = append(s.sinks, &sink{SinkName: n, bit: 1 << i, added: make(chan struct{}, 1)})
	}
	s.kinds = kinds{numbers: map[string]uint32{}, sinks: s.sinks}
	s.counters.lost = map[string]uint64{}
	s.upkeep.opening = true
	return s
}

// Recovery tells what Open found.
func (s *Spool) Recovery() Recovery { return s.recovery }

// Close waits for uploads in progress, refuses new ones, and closes the journal.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.idle.Broadcast()
	for s.uploads > 0 || s.upkeep.running {
		s.idle.Wait()
	}
	s.mu.Unlock()
	err := s.end()
	return errors.Join(err, s.release())
}

// end writes the record that tells the next Open that nothing was in progress.
func (s *Spool) end() error {
	s.mu.Lock()
	needed := s.active != nil && len(s.cuts) == 0
	s.mu.Unlock()
	if !needed {
		return nil
	}
	if err := s.append(newItem(journal.TypeClose, 1, nil)); err != nil {
		return fmt.Errorf("close spool: %w", err)
	}
	return nil
}

// release closes the files.
func (s *Spool) release() error {
	var errs []error
	for _, seg := range slices.Concat(s.segments, s.spares, s.surplus) {
		if !seg.gone {
			errs = append(errs, seg.file.Close())
		}
	}
	if s.archive != nil {
		errs = append(errs, s.archive.Close())
	}
	errs = append(errs, s.disk.Close(), s.lock.Unlock())
	return errors.Join(errs...)
}

// enter counts an operation that Close waits for.
func (s *Spool) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return uploads.ErrClosed
	}
	s.uploads++
	return nil
}

func (s *Spool) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uploads--
	if s.uploads == 0 {
		s.idle.Broadcast()
	}
}
