// Package relay moves uploads from a spool to where they go next.
//
// Each sink has a Relay of its own. Files of one device and kind go oldest
// first; devices take turns and kinds share by weight, so that none of them that
// is slow or has much to send holds up another. A backlog of any size costs the
// relay the same memory. What fails is
// tried again without limit, further and further apart; a file that fails while
// others pass moves behind the rest; a file that the destination will never
// take leaves for the quarantine, or, in an agent, is set aside and offered again later.
package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/backoff"
	"inventorybeacon/uploads/hours"
	"inventorybeacon/uploads/spool"
)

// A Queue is where a relay takes files from.
type Queue interface {
	// Keys appends to out the keys of up to limit files that the sink has not got,
	// with Seq above after, in ascending order. It is called often.
	Keys(sink string, after uint64, limit int, out []spool.Key) []spool.Key
	// Pending returns the same files as they are.
	Pending(sink string, after uint64, limit int) []uploads.Upload
	// Body opens the bytes of a file; [uploads.ErrUnknown] if it has left.
	Body(seq uint64) (uploads.Body, error)
	// Deliver records that the sink has files; it is durable on return.
	Deliver(sink string, marks []spool.Mark) error
	// Refuse records that the sink will never take a file; it is durable on return.
	// Other sinks go on.
	Refuse(sink string, seq uint64, detail string) error
	// Added gives a token whenever something may have become pending.
	Added(sink string) <-chan struct{}
}

// A Latecomer is a Queue that may show a file after files with a higher Seq.
type Latecomer interface {
	// Late returns the keys of the files that it shows since the last call, in any
	// order, also of some that were shown before. [Queue].Added tells of them.
	Late(sink string) []spool.Key
}

var _ Queue = (*spool.Spool)(nil)

// A Quarantine keeps files that a destination will never take.
type Quarantine interface {
	// Keep stores a file with the reason; it is durable on return. Keeping a file
	// again is success.
	Keep(u uploads.Upload, body uploads.Body, sink, reason string) error
}

// Options say how a relay works. Sink, Name and Queue are required.
type Options struct {
	// Name is the sink's in the queue.
	Name  string
	Queue Queue
	Sink  uploads.Sink
	// Quarantine takes the files that the sink refuses. Without it they are set
	// aside: they stay in the queue and are offered again on Reoffer, and once a day.
	Quarantine Quarantine
	// Workers bounds the deliveries at a time; 0 means 4. More use a fast, far
	// destination better; each may hold one connection and what the sink buffers.
	Workers int
	// PerLine bounds the files of one device and kind that are on their way at a
	// time; 0 means 1. With 1, an older file is settled or has failed often before a
	// newer one goes. With more, the older one goes first, and newer ones do not wait
	// for its answer; in a group they follow it, in order, and with more than the
	// sink's group several groups go side by side. It should leave workers to other
	// devices.
	PerLine int
	// PerKind bounds the files of one kind that are on their way at a time; 0 means
	// Workers. Fewer leave workers to other kinds. It counts for sinks that take one
	// file at a time.
	PerKind int
	// Hours are when files go; zero means always. What is on its way when they end
	// is finished.
	Hours hours.Hours
	// Bandwidth bounds what is sent, in bytes a second; 0 means no bound. It is for
	// bodies alone and held on average, over a few seconds.
	Bandwidth int64
	// Backoff spaces attempts while the destination fails; zero means
	// DefaultBackoff.
	Backoff backoff.Backoff
	// Log defaults to discarding.
	Log *slog.Logger
}

// DefaultBackoff suits a destination that thousands relay to.
var DefaultBackoff = backoff.Backoff{Min: time.Second, Max: 4 * time.Minute}

// A Relay moves files from a queue to a sink.
type Relay struct {
	o         Options
	results   chan result
	marked    chan error
	nudges    chan struct{}
	keys      []spool.Key // kept for the next scan
	chunk     int         // keys asked for at once
	throttle  *rate.Limiter
	unmarked  []spool.Mark
	marking   []spool.Mark // on their way to the disk
	markFails int

	mu     sync.Mutex // guards what Status reads
	plan   *plan
	status Status
}

// New returns a relay that does nothing before Run.
func New(o Options) *Relay {
	if o.Workers <= 0 {
		o.Workers = 4
	}
	if o.Backoff.Max == 0 {
		rand := o.Backoff.Rand
		o.Backoff = DefaultBackoff
		o.Backoff.Rand = rand
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Log = o.Log.With(slog.String("sink", o.Name))
	p := newPlan(o.Backoff)
	p.group, p.perLine = max(1, o.Sink.Group()), max(1, o.PerLine)
	if p.group == 1 {
		p.perKind = o.PerKind
	}
	return &Relay{
		o: o, plan: p, status: Status{Sink: o.Name}, throttle: newThrottle(o.Bandwidth), chunk: loadChunk,
		results: make(chan result, o.Workers), marked: make(chan error, 1), nudges: make(chan struct{}, 1),
	}
}

// Reoffer offers the files that were set aside again, now. Call it when
// something changed that may make the destination take them.
func (r *Relay) Reoffer() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.plan.reoffer(true, time.Now())
	r.nudge()
}

// Wake makes an attempt now if the relay waits because the destination failed.
// Call it when the network changed. A destination's own wish to be left alone
// still counts.
func (r *Relay) Wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.plan.until = time.Time{}
	r.nudge()
}

// Pardon lets files that failed while others passed, or were set aside, go again
// now as if nothing had happened, and returns how many of those that which names
// it found. A relay that a loop stopped starts again. which must be quick.
func (r *Relay) Pardon(which func(seq uint64) bool) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	off := len(r.offSeqs(which))
	n := off + r.plan.pardon(which, time.Now())
	if off > 0 {
		r.plan.hurry()
	}
	r.plan.until, r.status.Stopped = time.Time{}, false
	r.nudge()
	return n
}

// Troubled returns the files that failed while others passed, or were set aside.
func (r *Relay) Troubled() []uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append(r.plan.troubled(), r.offSeqs(func(uint64) bool { return true })...)
}

// nudge makes the loop look again.
func (r *Relay) nudge() {
	select {
	case r.nudges <- struct{}{}:
	default: // one is on its way
	}
}

// Run relays until ctx is done, and returns ctx's error, or until the queue
// is closed. It may be called once.
func (r *Relay) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	err := r.loop(ctx, &workers)
	workers.Wait()
	return errors.Join(err, r.settle())
}

// settle marks, at the end, what was delivered: a mark that is lost costs a repeat.
func (r *Relay) settle() error {
	if r.marking != nil {
		if err := <-r.marked; err != nil {
			r.unmarked = append(r.unmarked, r.marking...)
		}
	}
	for range len(r.results) {
		r.note(<-r.results, time.Now())
	}
	if len(r.unmarked) == 0 {
		return nil
	}
	if err := r.o.Queue.Deliver(r.o.Name, r.unmarked); err != nil {
		return fmt.Errorf("mark %d files delivered to %s: %w", len(r.unmarked), r.o.Name, err)
	}
	return nil
}

func (r *Relay) loop(ctx context.Context, workers *sync.WaitGroup) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	added := true
	for {
		select { // what came at the same instant as something else counts now
		case <-r.o.Queue.Added(r.o.Name):
			added = true
		default:
		}
		r.load(added)
		now := time.Now() // one for both: in between, no time may come that neither sees
		r.launch(ctx, workers, now)
		if wait, ok := r.wait(now); ok {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
		added = false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.o.Queue.Added(r.o.Name):
			added = true
		case <-timer.C:
		case <-r.nudges:
		case res := <-r.results:
			r.note(res, time.Now())
		case err := <-r.marked:
			if err := r.noteMarked(err); err != nil {
				return err
			}
		}
		r.mark(ctx, workers)
	}
}

// loadChunk is how many keys are asked for at once: enough to make the call
// cheap, few enough not to keep uploads waiting.
const loadChunk = 512

// load plans what the window has room for, if something was added to the queue
// or room became.
func (r *Relay) load(added bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !added && !r.plan.wants() {
		return
	}
	if q, ok := r.o.Queue.(Latecomer); ok {
		for _, k := range q.Late(r.o.Name) {
			r.plan.late(k)
		}
	}
	from := r.plan.begin()
	for {
		r.keys = r.o.Queue.Keys(r.o.Name, from, r.chunk, r.keys[:0])
		if len(r.keys) > 0 {
			from = r.plan.scan(r.keys)
		}
		if len(r.keys) < r.chunk {
			break
		}
	}
	r.plan.end()
}

// maxUnmarked bounds the files that are delivered and not recorded so, while the
// journal cannot be written. More keep a destination busy for longer; each takes
// some 300 bytes, and after a crash goes again.
const maxUnmarked = 16 << 10

// launch starts as many deliveries as may run.
func (r *Relay) launch(ctx context.Context, workers *sync.WaitGroup, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.plan.reoffer(false, now)
	open, until := r.o.Hours.At(now)
	if r.status.ClosedUntil = until; open {
		r.status.ClosedUntil = time.Time{}
		r.plan.recall(now)
		r.look(now)
	}
	for open && !r.status.Stopped && r.plan.batches < r.o.Workers && len(r.unmarked)+len(r.marking) < maxUnmarked {
		items := r.plan.next(now)
		if len(items) == 0 {
			return
		}
		round := r.plan.round
		workers.Go(func() { r.results <- r.deliver(ctx, items, round) })
	}
}

// wait returns how long nothing will be due.
func (r *Relay) wait(now time.Time) (time.Duration, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.Stopped {
		return 0, false
	}
	if closed := r.status.ClosedUntil; !closed.IsZero() {
		return closed.Sub(now), true
	}
	at, ok := r.plan.due(now)
	return at.Sub(now), ok
}

// mark starts recording what was delivered, all at once, unless that is
// already going on: what is delivered meanwhile shares the next sync.
func (r *Relay) mark(ctx context.Context, workers *sync.WaitGroup) {
	if len(r.unmarked) == 0 || r.marking != nil {
		return
	}
	r.marking, r.unmarked = r.unmarked, nil
	marks, wait := r.marking, time.Duration(0)
	if r.markFails > 0 {
		wait = r.o.Backoff.Delay(r.markFails)
	}
	workers.Go(func() {
		backoff.Sleep(ctx, wait)
		r.marked <- r.o.Queue.Deliver(r.o.Name, marks)
	})
}

// noteMarked counts what is durably marked. If the journal fails, the files
// stay delivered in memory and the mark is tried again.
func (r *Relay) noteMarked(err error) error {
	marks := r.marking
	r.marking = nil
	if err == nil {
		r.markFails = 0
		r.mu.Lock()
		r.status.Delivered += uint64(len(marks))
		r.status.LastDelivered = time.Now()
		for _, m := range marks {
			r.plan.forget(m.Seq)
		}
		r.mu.Unlock()
		return nil
	}
	r.unmarked = append(marks, r.unmarked...)
	if errors.Is(err, uploads.ErrClosed) {
		return fmt.Errorf("mark files delivered to %s: %w", r.o.Name, err)
	}
	r.markFails++
	r.o.Log.Error("cannot record deliveries", slog.Int("files", len(r.unmarked)), slog.Any("err", err))
	return nil
}
