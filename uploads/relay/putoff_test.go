package relay_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/relay"
	"inventorybeacon/uploads/spool"
)

// A herd is a queue of many files that takes no memory for each. They are of
// kind Logs, file n of device n modulo devices.
type herd struct {
	*queue
	devices uint64

	mu   sync.Mutex
	gone []bool // by number
	left int
}

func newHerd(files int, devices uint64) *herd {
	return &herd{queue: newQueue(), devices: devices, gone: make([]bool, files+1), left: files}
}

func (q *herd) Keys(_ string, after uint64, limit int, out []spool.Key) []spool.Key {
	q.mu.Lock()
	defer q.mu.Unlock()
	for seq := after + 1; seq < uint64(len(q.gone)) && limit > 0; seq++ {
		if !q.gone[seq] {
			limit--
			out = append(out, spool.Key{Seq: seq, Kind: "Logs", Size: 1000, Source: seq % q.devices})
		}
	}
	return out
}

func (q *herd) Pending(_ string, after uint64, _ int) []uploads.Upload {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone[after+1] {
		return nil
	}
	return []uploads.Upload{{Seq: after + 1, Kind: "Logs"}}
}

func (q *herd) Deliver(_ string, marks []spool.Mark) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range marks {
		q.gone[m.Seq] = true
		q.left--
	}
	return nil
}

func (q *herd) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.left
}

// A judge says what becomes of files and remembers what passed.
type judge struct {
	mu     sync.Mutex
	do     func(seq uint64) error
	passed []uint64
	tries  int
}

func (s *judge) set(do func(seq uint64) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.do = do
}

func (*judge) Group() int { return 16 }

func (s *judge) Deliver(_ context.Context, parcels []uploads.Parcel) []uploads.Delivery {
	time.Sleep(time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]uploads.Delivery, len(parcels))
	for i, p := range parcels {
		s.tries++
		if out[i].Err = s.do(p.Seq); out[i].Err == nil {
			s.passed = append(s.passed, p.Seq)
		}
	}
	return out
}

func (s *judge) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries
}

// A counted queue knows how many files wait.
type counted interface {
	relay.Queue
	waiting() int
}

func relayHerd(t *testing.T, q counted, s *judge, f func(r *relay.Relay)) {
	t.Helper()
	r := relay.New(relay.Options{Name: "centre", Queue: q, Sink: s, Workers: 4, Backoff: certain})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	f(r)
	synctest.Wait()
	cancel()
	<-done
	if n := q.waiting(); n != 0 {
		t.Errorf("%d files left, status %+v", n, r.Status())
	}
	if st := r.Status(); st.SetAside != 0 || st.Held != 0 || st.Waiting != 0 || r.Planned() != 0 {
		t.Errorf("at the end: %d remembered, %+v", r.Planned(), st)
	}
}

func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// inOrder checks that the files of every device passed once, oldest first.
func (s *judge) inOrder(t *testing.T, q *herd) {
	t.Helper()
	newest := map[uint64]uint64{}
	for _, seq := range s.passed {
		if newest[seq%q.devices] >= seq {
			t.Fatalf("file %d went after %d", seq, newest[seq%q.devices])
		}
		newest[seq%q.devices] = seq
	}
	if len(s.passed) != len(q.gone)-1 {
		t.Errorf("%d deliveries of %d files", len(s.passed), len(q.gone)-1)
	}
}

// What a destination does to very many files takes no memory for each of them,
// holds up no other, and ends in all of them being there, in order.
func TestRelayRemembersAFewOfManyFilesInTrouble(t *testing.T) {
	const devices = 999
	refused := func(uint64) error { return fmt.Errorf("%w: all that you send me", uploads.ErrRefused) }
	for name, tt := range map[string]struct {
		files   int
		do      func(seq uint64) error
		recover func(*relay.Relay)
		wait    time.Duration
		ordered bool
	}{
		"refused, and offered anew": {300_000, refused, (*relay.Relay).Reoffer, 5 * time.Minute, true},
		"refused, and pardoned": {40_000, refused, func(r *relay.Relay) {
			all := r.Troubled()
			if n := r.Pardon(func(uint64) bool { return true }); n != 40_000 || len(all) != n {
				t.Errorf("%d pardoned, %d in trouble", n, len(all))
			}
		}, 5 * time.Minute, true},
		"refused, and left alone": {40_000, refused, func(*relay.Relay) {}, 25 * time.Hour, false},
		"held":                    {40_000, func(uint64) error { return held }, func(*relay.Relay) {}, 48 * time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, s := newHerd(tt.files, devices), &judge{do: tt.do}
				before := heap()
				relayHerd(t, q, s, func(r *relay.Relay) {
					for range 1000 {
						time.Sleep(10 * time.Second)
						if s.count() >= tt.files {
							break
						}
					}
					synctest.Wait()
					st := r.Status()
					if n := st.SetAside + st.Held + st.Waiting + len(s.passed); n != tt.files {
						t.Errorf("%d files are accounted for: %d passed, %+v", n, len(s.passed), st)
					}
					if n := r.Planned(); n > 10_000 {
						t.Errorf("%d files are remembered", n)
					}
					if used := heap() - before; used > 10 {
						t.Errorf("%.1f MiB", used)
					}
					s.set(func(uint64) error { return nil })
					tt.recover(r)
					time.Sleep(tt.wait)
				})
				if tt.ordered {
					s.inOrder(t, q)
				}
			})
		})
	}
}

// Files that the destination goes on refusing are offered now and then, a few at
// a time.
func TestRelayTroublesADestinationLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const files = 20_000
		q, s := newHerd(files, 100), &judge{do: verdict(uploads.ErrRefused)}
		relayHerd(t, q, s, func(*relay.Relay) {
			time.Sleep(time.Hour)
			first := s.count()
			time.Sleep(8 * time.Hour)
			if again := s.count() - first; first < files || first > files+4*1024 || again < 15_000 || again > 33*512 {
				t.Errorf("%d tries in an hour, %d in eight more", first, again)
			}
			s.set(verdict(nil))
			time.Sleep(24 * time.Hour)
		})
	})
}

// Files that fail while others pass are put off as well, and come back.
func TestRelayPutsOffFilesThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{start: time.Now()}
		s.do = func(u uploads.Upload) error {
			if u.Device.Name != "GOOD" {
				return errDown
			}
			return nil
		}
		r := relay.New(relay.Options{Name: "centre", Queue: q, Sink: s, Backoff: certain})
		r.SetOutOfLine(20)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		for i := range 1200 {
			if i%10 == 0 && i < 1000 {
				q.add(t, fmt.Sprintf("PC%d", i), "Logs", 1)
			}
			q.add(t, "GOOD", "Logs", i)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if st := r.Status(); st.Deferred > 20 || st.SetAside < 30 || q.left() < 100 {
			t.Errorf("%d left, %+v", q.left(), st)
		}
		s.set(always(nil))
		time.Sleep(time.Hour)
		if st := r.Status(); st.Deferred != 0 || st.SetAside != 0 || r.Planned() != 0 || q.left() != 0 {
			t.Errorf("%d left, %d remembered, %+v", q.left(), r.Planned(), st)
		}
		cancel()
		<-done
	})
}

// While deliveries cannot be recorded, not all that waits is delivered and
// remembered; when they can, it goes on.
func TestRelayDeliversNoMoreThanItCanRemember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := &dumb{herd: newHerd(100_000, 999)}, &judge{do: verdict(nil)}
		q.failing.Store(true)
		relayHerd(t, q, s, func(r *relay.Relay) {
			time.Sleep(10 * time.Minute)
			if n := s.count(); n < 16<<10 || n > 17<<10 || r.Planned() > n+5000 {
				t.Errorf("%d delivered, %d remembered", n, r.Planned())
			}
			q.failing.Store(false)
			time.Sleep(10 * time.Minute)
		})
		s.inOrder(t, q.herd)
	})
}

// A dumb herd records nothing for a while.
type dumb struct {
	*herd
	failing atomic.Bool
}

func (q *dumb) Deliver(sink string, marks []spool.Mark) error {
	if q.failing.Load() {
		return errIO
	}
	return q.herd.Deliver(sink, marks)
}

func verdict(err error) func(uint64) error { return func(uint64) error { return err } }

// Whatever is refused, held or fails, with whatever window and room for it: every
// file arrives, once, and nothing is remembered of it.
func TestRelayPutsOffAndLosesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		lines := rapid.SliceOfN(rapid.IntRange(0, 11), 1, 150).Draw(rt, "lines")
		verdicts := rapid.SliceOfN(rapid.IntRange(0, 5), len(lines), len(lines)).Draw(rt, "verdicts")
		hide := rapid.SliceOfN(rapid.IntRange(0, 9), len(lines), len(lines)).Draw(rt, "hidden")
		window, most := rapid.IntRange(1, 30).Draw(rt, "window"), rapid.IntRange(0, 20).Draw(rt, "out of line")
		first := rapid.IntRange(0, len(lines)).Draw(rt, "first")
		o := relay.Options{Name: "centre", Backoff: certain, Workers: rapid.IntRange(1, 4).Draw(rt, "workers")}
		group, reoffer := rapid.IntRange(1, 4).Draw(rt, "group"), rapid.Bool().Draw(rt, "reoffer")
		var st relay.Status
		var tries []try
		left, kept := 0, 0
		synctest.Test(t, func(t *testing.T) {
			q := &tardy{queue: newQueue(), hidden: map[uint64]bool{}}
			s := &sink{group: group, start: time.Now()}
			s.do = func(u uploads.Upload) error {
				time.Sleep(10 * time.Millisecond)
				return []error{nil, uploads.ErrRefused, held, errDown, uploads.ErrRefused, nil}[verdicts[u.Seq-1]]
			}
			for i := range hide {
				q.hidden[uint64(i+1)] = hide[i] == 1
			}
			add := func(from, to int) {
				for i := from; i < to; i++ {
					q.add(t, fmt.Sprintf("PC%d", lines[i]%6), []string{"Inventories", "Logs"}[lines[i]/6], i)
				}
			}
			add(0, first)
			o.Queue, o.Sink = q, s
			r := relay.New(o)
			r.SetWindow(window, 7)
			r.SetOutOfLine(most)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- r.Run(ctx) }()
			defer func() { cancel(); <-done }()
			time.Sleep(time.Minute)
			add(first, len(lines))
			for i := range hide {
				if hide[i] == 1 {
					time.Sleep(time.Second)
					q.show(uint64(i + 1))
				}
			}
			time.Sleep(3 * time.Hour)
			synctest.Wait()
			s.set(always(nil))
			if reoffer {
				r.Reoffer()
			}
			time.Sleep(26 * time.Hour)
			synctest.Wait()
			tries, left, st, kept = s.tries, q.left(), r.Status(), r.Planned()
		})
		if left != 0 || kept != 0 || st.Waiting+st.SetAside+st.Held != 0 {
			rt.Fatalf("%d left, %d remembered, %+v", left, kept, st)
		}
		checkWindow(rt, tries, hide, 2, len(lines))
	})
}
