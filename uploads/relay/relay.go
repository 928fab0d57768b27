// Package relay moves uploads from a spool to where they go next.
//
// Each sink has a Relay of its own. Files of one device and kind go oldest
// first; one slow device, kind or file does not hold up another. What fails is
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

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/backoff"
	"inventorybeacon/uploads/spool"
)

// A Queue is where a relay takes files from.
type Queue interface {
	// Pending returns up to limit files that the sink has not got, with Seq above
	// after, in ascending order.
	Pending(sink string, after uint64, limit int) []uploads.Upload
	// Body opens the bytes of a file; [uploads.ErrUnknown] if it has left.
	Body(seq uint64) (uploads.Body, error)
	// Deliver records that the sink has files; it is durable on return.
	Deliver(sink string, marks []spool.Mark) error
	// Lose takes a file out for another reason than delivery.
	Lose(seq uint64, reason, detail string) error
	// Added gives a token whenever something may have become pending.
	Added(sink string) <-chan struct{}
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
	reoffers  chan struct{}
	cursor    uint64 // highest sequence number planned
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
	return &Relay{
		o: o, plan: newPlan(o.Backoff), status: Status{Sink: o.Name},
		results: make(chan result, o.Workers), marked: make(chan error, 1), reoffers: make(chan struct{}, 1),
	}
}

// Reoffer offers the files that were set aside again, now. Call it when
// something changed that may make the destination take them.
func (r *Relay) Reoffer() {
	select {
	case r.reoffers <- struct{}{}:
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
	for {
		r.load()
		r.launch(ctx, workers)
		if wait, ok := r.wait(time.Now()); ok {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.o.Queue.Added(r.o.Name):
		case <-timer.C:
		case <-r.reoffers:
			r.mu.Lock()
			r.plan.reoffer(true, time.Now())
			r.mu.Unlock()
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

// loadChunk is how many files are asked for at once: enough to make the call
// cheap, few enough to copy.
const loadChunk = 512

// load plans what became pending.
func (r *Relay) load() {
	for {
		ups := r.o.Queue.Pending(r.o.Name, r.cursor, loadChunk)
		r.mu.Lock()
		for _, u := range ups {
			r.plan.add(u)
			r.cursor = u.Seq
		}
		r.mu.Unlock()
		if len(ups) < loadChunk {
			return
		}
	}
}

// launch starts as many deliveries as may run.
func (r *Relay) launch(ctx context.Context, workers *sync.WaitGroup) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.plan.reoffer(false, now)
	r.plan.recall(now)
	for !r.status.Stopped && r.plan.batches < r.o.Workers {
		items := r.plan.next(now, max(1, r.o.Sink.Group()))
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
	at, ok := r.plan.due(now)
	if r.status.Stopped {
		ok = false
	}
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
