package relay_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/relay"
)

// A failing queue cannot read some files: their bodies, or anything of them.
type failing struct {
	*queue
	body, all map[uint64]bool
}

var errIO = errors.New("input/output error")

func (q failing) Body(seq uint64) (uploads.Body, error) {
	q.mu.Lock()
	bad := q.body[seq]
	q.mu.Unlock()
	if bad {
		return nil, errIO
	}
	return q.queue.Body(seq)
}

func (q failing) Pending(sink string, after uint64, limit int) (out []uploads.Upload) {
	ups := q.queue.Pending(sink, after, limit)
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, u := range ups {
		if !q.all[u.Seq] {
			out = append(out, u)
		}
	}
	return out
}

// What the queue cannot read at the moment is no failure of the destination: the
// file moves behind the rest at once, with its reason, others go on without a
// pause, and it goes once it can be read.
func TestRelayGoesAroundWhatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := failing{newQueue(), map[uint64]bool{1: true}, map[uint64]bool{2: true}}, &opener{}
		for i := range 4 {
			q.add(t, "PC1", "Logs", i)
		}
		r := relay.New(relay.Options{Name: "centre", Queue: q, Sink: s, Workers: 1, Backoff: certain})
		done := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- r.Run(ctx) }()
		time.Sleep(time.Millisecond)
		synctest.Wait()
		same(t, "passed at once", s.passed, []uint64{3, 4})
		time.Sleep(time.Minute)
		st := r.Status()
		if st.Deferred != 2 || st.Waiting != 2 || st.FailuresInARow != 0 || len(st.Trouble) != 2 || st.Trouble[0].State != "deferred" || st.Trouble[0].Reason != errIO.Error() {
			t.Errorf("status %+v", st)
		}
		q.mu.Lock()
		clear(q.body)
		clear(q.all)
		q.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if st := r.Status(); q.left() != 0 || st.Deferred != 0 {
			t.Errorf("%d left, %+v", q.left(), st)
		}
		cancel()
		<-done
	})
}

// An opener is a sink that opens what it gets.
type opener struct{ passed []uint64 }

func (*opener) Group() int { return 1 }

func (s *opener) Deliver(_ context.Context, parcels []uploads.Parcel) []uploads.Delivery {
	out := make([]uploads.Delivery, len(parcels))
	for i, p := range parcels {
		if _, out[i].Err = p.Open(); out[i].Err == nil {
			s.passed = append(s.passed, p.Seq)
		}
	}
	return out
}
