package gate_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/content/gate"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/uploadstest"
)

// A queue is a spool in memory, with one sink.
type queue struct {
	mu      sync.Mutex
	held    []uploads.Upload
	seq     uint64
	flags   map[uint64][]string
	lost    map[uint64]string
	bodyErr func(seq uint64) error
	loseErr error
	added   chan struct{}
}

func newQueue() *queue {
	return &queue{flags: map[uint64][]string{}, lost: map[uint64]string{}, added: make(chan struct{}, 1)}
}

// add queues a file of that device, whose body is its name, after changes.
func (q *queue) add(t testing.TB, device, kind, ext string, changes ...func(*uploads.Upload)) uint64 {
	t.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.seq++
	name := fmt.Sprintf("%s at 20261122T093000 (%d)%s", device, q.seq, ext)
	u := uploadstest.Upload(t, kind, name, []byte(name))
	u.Seq = q.seq
	for _, change := range changes {
		if change != nil {
			change(&u)
		}
	}
	q.held = append(q.held, u)
	select {
	case q.added <- struct{}{}:
	default:
	}
	return u.Seq
}

func (q *queue) Held(after uint64, limit int, out []spool.Key) []spool.Key {
	return q.Keys("", after, limit, out)
}

func (q *queue) Keys(_ string, after uint64, limit int, out []spool.Key) []spool.Key {
	for _, u := range q.Pending("", after, limit) {
		out = append(out, spool.KeyOf(u))
	}
	return out
}

func (q *queue) Pending(_ string, after uint64, limit int) []uploads.Upload {
	q.mu.Lock()
	defer q.mu.Unlock()
	at, _ := slices.BinarySearchFunc(q.held, after+1, func(u uploads.Upload, seq uint64) int { return cmp.Compare(u.Seq, seq) })
	return slices.Clone(q.held[at:min(len(q.held), at+limit)])
}

func (q *queue) Lookup(seq uint64) (uploads.Upload, bool) {
	if ups := q.Pending("", seq-1, 1); len(ups) > 0 && ups[0].Seq == seq {
		return ups[0], true
	}
	return uploads.Upload{}, false
}

func (q *queue) Body(seq uint64) (uploads.Body, error) {
	q.mu.Lock()
	f := q.bodyErr
	q.mu.Unlock()
	if f != nil {
		if err := f(seq); err != nil {
			return nil, err
		}
	}
	u, ok := q.Lookup(seq)
	if !ok {
		return nil, uploads.ErrUnknown
	}
	return uploadstest.Body([]byte(u.Name.String())), nil
}

func (q *queue) remove(seq uint64) {
	q.held = slices.DeleteFunc(q.held, func(u uploads.Upload) bool { return u.Seq == seq })
}

func (q *queue) Deliver(_ string, marks []spool.Mark) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range marks {
		q.remove(m.Seq)
	}
	return nil
}

func (q *queue) Refuse(_ string, seq uint64, detail string) error {
	return q.Lose(seq, spool.LossRefused, detail)
}

func (q *queue) Lose(seq uint64, reason, detail string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.loseErr != nil {
		return q.loseErr
	}
	q.lost[seq] = reason + " " + detail
	q.remove(seq)
	return nil
}

func (q *queue) Flag(seq uint64, detail string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !slices.Contains(q.flags[seq], detail) {
		q.flags[seq] = append(q.flags[seq], detail)
	}
	return nil
}

func (q *queue) Added(string) <-chan struct{} { return q.added }

// A pen is a quarantine in memory.
type pen struct {
	mu   sync.Mutex
	kept map[uint64]string
	err  error
}

func (p *pen) Keep(u uploads.Upload, body uploads.Body, sink, reason string) error {
	b, err := io.ReadAll(body)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil || err != nil {
		return cmp.Or(p.err, err)
	}
	p.kept[u.Seq] = string(b) + ": " + sink + ": " + reason
	return nil
}

// A harness is a gate that runs, over a queue in memory.
type harness struct {
	*gate.Gate
	q *queue
	p *pen
}

// run starts a gate in a bubble until f returns.
func run(t *testing.T, o gate.Options, f func(h *harness)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &harness{q: newQueue(), p: &pen{kept: map[uint64]string{}}}
		o.Queue, o.Sinks, o.Quarantine = h.q, []string{"s"}, h.p
		h.Gate = gate.New(o)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.Run(ctx) }()
		f(h)
		cancel()
		if err := <-done; err != context.Canceled {
			t.Errorf("Run = %v", err)
		}
	})
}

// shown returns what the sink is shown once nothing moves any more.
func (h *harness) shown() (seqs []uint64) {
	synctest.Wait()
	for _, k := range h.Keys("s", 0, 1<<20, nil) {
		seqs = append(seqs, k.Seq)
	}
	return seqs
}

// token reports whether the sink was told that there may be more.
func (h *harness) token() bool {
	synctest.Wait()
	select {
	case <-h.Added("s"):
		return true
	default:
		return false
	}
}

func late(h *harness) (seqs []uint64) {
	for _, k := range h.Late("s") {
		seqs = append(seqs, k.Seq)
	}
	return seqs
}
