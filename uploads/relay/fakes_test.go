package relay_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/backoff"
	"inventorybeacon/uploads/relay"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/uploadstest"
)

// A queue is a spool in memory, with one sink.
type queue struct {
	mu        sync.Mutex
	seq       uint64
	held      []uploads.Upload
	lost      []string
	marks     [][]spool.Mark
	added     chan struct{}
	failMarks int // how many Deliver calls fail
	syncing   time.Duration
}

func newQueue() *queue { return &queue{added: make(chan struct{}, 1)} }

// add queues a file of that device and kind, named after n.
func (q *queue) add(t testing.TB, device, kind string, n int) uint64 {
	t.Helper()
	u := uploadstest.Upload(t, kind, fmt.Sprintf("%s at 20261122T093000 (%d).log", device, n), []byte(device))
	q.mu.Lock()
	q.seq++
	u.Seq = q.seq
	q.held = append(q.held, u)
	q.mu.Unlock()
	select {
	case q.added <- struct{}{}:
	default:
	}
	return u.Seq
}

func (q *queue) Pending(_ string, after uint64, limit int) []uploads.Upload {
	q.mu.Lock()
	defer q.mu.Unlock()
	at, _ := slices.BinarySearchFunc(q.held, after+1, func(u uploads.Upload, seq uint64) int { return cmp.Compare(u.Seq, seq) })
	return slices.Clone(q.held[at:min(at+limit, len(q.held))])
}

func (q *queue) Keys(_ string, after uint64, limit int, out []spool.Key) []spool.Key {
	for _, u := range q.Pending("", after, limit) {
		out = append(out, spool.KeyOf(u))
	}
	return out
}

func (q *queue) Body(seq uint64) (uploads.Body, error) {
	ups := q.Pending("", seq-1, 1)
	if len(ups) == 0 || ups[0].Seq != seq {
		return nil, uploads.ErrUnknown
	}
	return uploadstest.Body([]byte(ups[0].Device.Name)), nil
}

func (q *queue) Deliver(_ string, marks []spool.Mark) error {
	time.Sleep(q.syncing)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failMarks > 0 {
		q.failMarks--
		return errors.New("disk on fire")
	}
	q.marks = append(q.marks, slices.Clone(marks))
	for _, m := range marks {
		q.drop(m.Seq)
	}
	return nil
}

func (q *queue) Refuse(_ string, seq uint64, detail string) error {
	return q.Lose(seq, "refused", detail)
}

func (q *queue) Lose(seq uint64, reason, detail string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lost = append(q.lost, fmt.Sprintf("%d %s %s", seq, reason, detail))
	q.drop(seq)
	return nil
}

func (q *queue) drop(seq uint64) {
	q.held = slices.DeleteFunc(q.held, func(u uploads.Upload) bool { return u.Seq == seq })
}

func (q *queue) Added(string) <-chan struct{} { return q.added }

func (q *queue) left() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.held)
}

// A sink does what its function says, and remembers when it was asked what.
type sink struct {
	group int
	do    func(u uploads.Upload) error

	mu     sync.Mutex
	start  time.Time
	tries  []try
	flying int
	most   int // deliveries at a time
}

func (s *sink) attempts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tries)
}

type try struct {
	at time.Duration // since the start
	u  uploads.Upload
	ok bool
}

// set changes what the sink does.
func (s *sink) set(do func(u uploads.Upload) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.do = do
}

func (s *sink) Group() int { return max(1, s.group) }

func (s *sink) Deliver(ctx context.Context, parcels []uploads.Parcel) []uploads.Delivery {
	s.mu.Lock()
	s.flying++
	s.most = max(s.most, s.flying)
	do := s.do
	s.mu.Unlock()
	out := make([]uploads.Delivery, len(parcels))
	for i, p := range parcels {
		at := time.Since(s.start)
		out[i].Err = errors.Join(do(p.Upload), ctx.Err())
		if out[i].Err == nil {
			out[i].Custody = []uploads.Custody{{Level: uploads.LevelStore, Beacon: "b1"}}
		}
		s.mu.Lock()
		s.tries = append(s.tries, try{at, p.Upload, out[i].Err == nil})
		s.mu.Unlock()
	}
	s.mu.Lock()
	s.flying--
	s.mu.Unlock()
	return out
}

// times returns when the sink was tried.
func (s *sink) times() (out []time.Duration) {
	for _, t := range s.tries {
		out = append(out, t.at)
	}
	return out
}

// order returns the sequence numbers of the tries, in order; of those that
// passed only, if passed.
func (s *sink) order(passed bool) (out []uint64) {
	for _, t := range s.tries {
		if t.ok || !passed {
			out = append(out, t.u.Seq)
		}
	}
	return out
}

// certain is a backoff without chance.
var certain = backoff.Backoff{Min: time.Second, Max: 8 * time.Second, Rand: func() float64 { return 1 }}

// run lets a relay work for d in a bubble and returns it stopped.
func run(t *testing.T, q *queue, s *sink, o relay.Options, d time.Duration, meanwhile ...func(*relay.Relay)) *relay.Relay {
	t.Helper()
	s.start = time.Now()
	o.Name, o.Queue, o.Sink = "centre", q, s
	if o.Backoff.Max == 0 {
		o.Backoff = certain
	}
	if o.Workers == 0 {
		o.Workers = 1
	}
	r := relay.New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	time.Sleep(d)
	for _, f := range meanwhile {
		synctest.Wait()
		f(r)
	}
	synctest.Wait()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
	return r
}

func same[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}
