// Package custody decides when the agent may forget a file. The policy says who
// must have it first; a file that a beacon has, but that has not got so far,
// stays in the outbox and is asked about instead of being sent again.
//
//	relay -> Keeper -> sink (parent)      a file nobody is known to have: PUT
//	               \-> teller (parent)    a file a beacon has: GET, until it is far enough
//
// What is learnt is kept in the spool, so that a process that begins anew asks
// too, and sends no body. A file that waits so can be given up without being
// lost: it counts as delivered as far as it got.
package custody

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/custody"
	"inventorybeacon/uploads/spool"
)

// Questions are counted in sessions. More of them, or shorter sessions, let an
// agent with many files forget them sooner; fewer spare a beacon that a whole
// fleet asks. Files beyond that stay held until their turn comes, which the
// relay sees to.
const (
	session          = 15 * time.Minute
	sessionQuestions = 50
)

// unknownFor is how long beacons may know nothing of a file that one of them
// took before it is sent again. A shorter time sends bodies again that another
// beacon has and will relay; a longer one is how late a file comes to the centre
// whose beacon is gone for good. It doubles with each time, up to lastUnknown,
// so that a file that every beacon takes and then refuses is not sent for ever.
const (
	unknownFor  = 6 * time.Hour
	lastUnknown = 4 * 24 * time.Hour
)

// Spool is what the keeper needs of [spool.Spool].
type Spool interface {
	Pending(sink string, after uint64, limit int) []uploads.Upload
	FindExact(kind string, name uploads.Name, d uploads.Digest) (uploads.Receipt, bool)
	Learn(kind string, name uploads.Name, d uploads.Digest, c []uploads.Custody) error
	Deliver(sink string, marks []spool.Mark) error
}

// A Teller says who has a file by now; [uploads.ErrUnknown] if whoever answered
// does not know it.
type Teller interface {
	Reached(ctx context.Context, u uploads.Upload) ([]uploads.Custody, error)
}

// Options say between what a keeper stands. All are required but Log.
type Options struct {
	Sink   uploads.Sink
	Teller Teller
	Spool  Spool
	// Name is the sink's in the spool, and Self the spool's own identity in its
	// receipts, which counts for nobody's custody.
	Name, Self string
	// Log defaults to discarding.
	Log *slog.Logger
}

// A Keeper is a sink that takes a file for delivered once it has got far enough.
// Its methods may be called by several goroutines.
type Keeper struct {
	o Options

	mu      sync.Mutex
	level   string
	held    map[uint64]*file
	sent    uint64
	lastAck time.Time
	session time.Time // when it began
	asked   int       // questions in it
}

// A file is one that a beacon has and the agent keeps.
type file struct {
	upload  uploads.Upload
	holders []uploads.Custody
	unknown time.Time // since when nobody knows it; zero while somebody does
	resent  int       // times
}

var _ uploads.Sink = (*Keeper)(nil)

// New returns a keeper that lets go of a file when a beacon has it. It knows of
// the files that an earlier process left with a beacon.
func New(o Options) *Keeper {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{o: o, level: uploads.LevelBeacon, held: map[uint64]*file{}}
	k.remember()
	return k
}

// chunk is how many files of the spool are looked at together.
const chunk = 256

func (k *Keeper) remember() {
	after := uint64(0)
	for {
		pending := k.o.Spool.Pending(k.o.Name, after, chunk)
		for _, u := range pending {
			after = u.Seq
			r, _ := k.o.Spool.FindExact(u.Kind, u.Name, u.Digest)
			holders := slices.DeleteFunc(r.Custody, func(c uploads.Custody) bool { return c.Beacon == k.o.Self })
			if len(holders) > 0 {
				k.held[u.Seq] = &file{upload: u, holders: holders}
			}
		}
		if len(pending) < chunk {
			return
		}
	}
}

// Group implements [uploads.Sink].
func (k *Keeper) Group() int { return k.o.Sink.Group() }

// Deliver implements [uploads.Sink]. A file that was taken and is to be kept
// gives an [uploads.HeldError].
func (k *Keeper) Deliver(ctx context.Context, parcels []uploads.Parcel) []uploads.Delivery {
	out := make([]uploads.Delivery, 0, len(parcels))
	for _, p := range parcels {
		out = append(out, k.deliver(ctx, p))
	}
	return out
}

func (k *Keeper) deliver(ctx context.Context, p uploads.Parcel) uploads.Delivery {
	f := k.find(p.Upload)
	switch {
	case len(f.holders) == 0:
		return k.send(ctx, p, f)
	case k.enough(f.holders):
		return k.done(f)
	case !k.mayAsk(time.Now()):
		return k.keep(f, nil)
	}
	told, err := k.o.Teller.Reached(ctx, p.Upload)
	switch {
	case errors.Is(err, uploads.ErrUnknown):
		if !k.overdue(f, time.Now()) {
			return k.keep(f, nil)
		}
		k.o.Log.Warn("no beacon knows of a file that one took: it is sent again", slog.String("kind", p.Kind), slog.String("name", p.Name.String()))
		return k.send(ctx, p, f)
	case err != nil:
		return uploads.Delivery{Err: err}
	}
	return k.take(f, told)
}

// find returns what is known of a file.
func (k *Keeper) find(u uploads.Upload) *file {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f := k.held[u.Seq]; f != nil {
		return f
	}
	return &file{upload: u}
}

// mayAsk counts a question if the session has one left.
func (k *Keeper) mayAsk(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Sub(k.session) >= session {
		k.session, k.asked = now, 0
	}
	if k.asked >= sessionQuestions {
		return false
	}
	k.asked++
	return true
}

// send hands the bytes over.
func (k *Keeper) send(ctx context.Context, p uploads.Parcel, f *file) uploads.Delivery {
	d := k.o.Sink.Deliver(ctx, []uploads.Parcel{p})[0]
	if d.Err != nil {
		return d
	}
	k.mu.Lock()
	k.sent++
	k.lastAck = time.Now()
	k.mu.Unlock()
	if custody.Highest(d.Custody) == "" {
		return d // who took it will never say more
	}
	return k.take(f, d.Custody)
}

// take adds what was told of a file.
func (k *Keeper) take(f *file, told []uploads.Custody) uploads.Delivery {
	k.mu.Lock()
	news := custody.News(f.holders, told)
	f.holders = append(f.holders, news...)
	f.unknown, k.lastAck = time.Time{}, time.Now()
	k.mu.Unlock()
	if k.enough(f.holders) {
		return k.done(f)
	}
	return k.keep(f, news)
}

func (k *Keeper) enough(holders []uploads.Custody) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return custody.Reached(holders, k.level)
}

func (k *Keeper) done(f *file) uploads.Delivery {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.held, f.upload.Seq)
	return uploads.Delivery{Custody: f.holders}
}

// keep remembers a file that has not got far enough.
func (k *Keeper) keep(f *file, news []uploads.Custody) uploads.Delivery {
	u := f.upload
	if len(news) > 0 {
		if err := k.o.Spool.Learn(u.Kind, u.Name, u.Digest, news); err != nil && !errors.Is(err, uploads.ErrUnknown) {
			k.o.Log.Warn("what was learnt of a file is not kept: a restart sends it again", slog.String("name", u.Name.String()), slog.Any("err", err))
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held[u.Seq] = f
	return uploads.Delivery{Err: &uploads.HeldError{Custody: slices.Clone(f.holders)}}
}

// overdue reports whether a file that nobody knows is to be sent again.
func (k *Keeper) overdue(f *file, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f.unknown.IsZero() {
		f.unknown = now
	}
	if now.Sub(f.unknown) < custody.Gap(unknownFor, lastUnknown, f.resent) {
		return false
	}
	f.unknown, f.resent = time.Time{}, f.resent+1
	return true
}
