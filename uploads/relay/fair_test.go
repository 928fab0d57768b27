package relay_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/relay"
	"inventorybeacon/uploads/spool"
)

// slowly takes a file a second, so that a test sees who goes when.
func slowly(uploads.Upload) error { time.Sleep(time.Second); return nil }

// firstOf returns how many tries came before the first one of a device and kind.
func (s *sink) firstOf(device, kind string) int {
	for i, try := range s.tries {
		if try.u.Device.Name == device && try.u.Kind == kind {
			return i
		}
	}
	return -1
}

// What 100,000 files of one device do to a file of another: nothing that anybody
// would notice, be it of the same kind or of another one.
func TestRelayLetsNoBacklogStarveOthers(t *testing.T) {
	for name, sort := range map[string]struct {
		options relay.Options
		group   int
	}{
		"one at a time":  {relay.Options{Workers: 1}, 1},
		"many of a line": {relay.Options{Workers: 8, PerLine: 4, PerKind: 6}, 1},
		"groups":         {relay.Options{Workers: 2, PerLine: 64}, 64},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, s := newQueue(), &sink{do: slowly, group: sort.group}
				for i := range 100_000 {
					q.add(t, "HOG", "Logs", i)
				}
				q.add(t, "PC1", "Inventories", 1)
				q.add(t, "PC2", "Logs", 1)
				run(t, q, s, sort.options, 40*time.Second, func(r *relay.Relay) {
					if files := r.Planned(); files > 5000 {
						t.Errorf("%d files are planned", files)
					}
					q.add(t, "PC3", "Logs", 1) // one that comes later
					time.Sleep(30 * time.Second)
				})
				before := 8 * sort.group // a batch that is on its way, per worker
				for _, d := range []struct{ device, kind string }{{"PC1", "Inventories"}, {"PC2", "Logs"}} {
					if n := s.firstOf(d.device, d.kind); n < 0 || n > before {
						t.Errorf("%s of %s went after %d files", d.kind, d.device, n)
					}
				}
				if s.firstOf("PC3", "Logs") < 0 {
					t.Error("what came later did not go within half a minute")
				}
			})
		})
	}
}

// Many devices with long backlogs leave room in the window for the next one.
func TestRelayFindsDeviceBehindManyBacklogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: slowly}
		for i := range 20_000 {
			q.add(t, fmt.Sprintf("HOG%d", i/400), "Logs", i)
		}
		q.add(t, "PC1", "Logs", 1)
		run(t, q, s, relay.Options{}, 5*time.Minute)
		if n := s.firstOf("PC1", "Logs"); n < 0 || n > 50 {
			t.Errorf("went after %d files of 50 devices", n)
		}
	})
}

// While everything waits, inventories get eight files for one log, and logs still
// get theirs.
func TestRelaySharesByKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: slowly}
		for i := range 2000 {
			q.add(t, fmt.Sprintf("PC%d", i%100), []string{"Logs", "Inventories"}[i%2], i)
		}
		run(t, q, s, relay.Options{}, 900*time.Second)
		n := map[string]int{}
		for _, try := range s.tries {
			n[try.u.Kind]++
		}
		if n["Logs"] < 90 || n["Logs"] > 110 {
			t.Errorf("%v went, want a ninth of them logs", n)
		}
	})
}

// A slow kind leaves workers to others.
func TestRelayGoesAroundSlowKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: func(u uploads.Upload) error {
			if u.Kind == "Logs" {
				time.Sleep(time.Hour)
			}
			return nil
		}}
		for i := range 100 {
			q.add(t, fmt.Sprintf("PC%d", i), "Logs", i)
		}
		run(t, q, s, relay.Options{Workers: 4, PerKind: 3}, time.Minute, func(*relay.Relay) {
			for i := range 100 {
				q.add(t, fmt.Sprintf("PC%d", i), "Inventories", i)
			}
			time.Sleep(time.Minute)
			if left := q.left(); left != 100 {
				t.Errorf("%d left, want the 100 logs", left)
			}
		})
	})
}

// A destination that wants no more logs for an hour still gets inventories.
func TestRelayHonoursRetryAfterOfEachKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{}
		s.do = func(u uploads.Upload) error {
			if u.Kind == "Logs" && time.Since(s.start) < time.Hour {
				return &uploads.RetryError{After: time.Hour, Err: errDown}
			}
			return nil
		}
		for i := range 10 {
			q.add(t, fmt.Sprintf("PC%d", i), "Logs", 1)
			q.add(t, fmt.Sprintf("PC%d", i), "Inventories", 1)
		}
		run(t, q, s, relay.Options{}, time.Minute, func(r *relay.Relay) {
			if left := q.left(); left != 10 || len(s.tries) != 11 {
				t.Errorf("%d left after %d tries, want the logs, of which one was tried", left, len(s.tries))
			}
			if at := r.Status().NextAttempt; !at.Equal(s.start.Add(time.Hour)) {
				t.Errorf("next attempt %v", at)
			}
			time.Sleep(time.Hour)
		})
		if q.left() != 0 {
			t.Errorf("%d left", q.left())
		}
	})
}

// Several files of one device may be on their way to a sink that takes one at a
// time: they start in order, and none of them keeps another from starting.
func TestRelaySendsManyOfOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: slowly}
		for i := range 40 {
			q.add(t, "PC1", "Logs", i)
		}
		q.add(t, "PC2", "Logs", 1)
		run(t, q, s, relay.Options{Workers: 6, PerLine: 4}, 20*time.Second)
		if q.left() != 0 || s.most != 5 {
			t.Errorf("%d left, %d at a time, want 5", q.left(), s.most)
		}
		if took := s.times()[40]; took > 10*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// A group holds a device's files in order, and no other group has files of it at
// that time; each device has its turn in it.
func TestRelayGroupsLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: slowly, group: 10}
		for i := range 30 {
			q.add(t, "PC1", "Logs", i)
		}
		q.add(t, "PC2", "Logs", 1)
		run(t, q, s, relay.Options{Workers: 4, PerLine: 10}, time.Minute)
		if q.left() != 0 || s.most != 1 {
			t.Errorf("%d left, %d at a time", q.left(), s.most)
		}
		same(t, "order", s.order(true), append(append([]uint64{1, 31}, seqs(2, 9)...), seqs(10, 30)...))
	})
}

func sorted(seqs []uint64) []uint64 { slices.Sort(seqs); return seqs }

// With more than a group of one line on its way, groups go side by side, and leave
// a worker to others.
func TestRelaySendsGroupsOfALineSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), &sink{do: slowly, group: 10}
		for i := range 100 {
			q.add(t, "PC1", "Logs", i)
		}
		run(t, q, s, relay.Options{Workers: 4, PerLine: 30}, 15*time.Second, func(*relay.Relay) {
			if s.most != 3 {
				t.Errorf("%d groups at a time", s.most)
			}
			q.add(t, "PC2", "Logs", 1)
			time.Sleep(time.Minute)
		})
		if q.left() != 0 {
			t.Errorf("%d left", q.left())
		}
		if n := s.firstOf("PC2", "Logs"); n > 60 {
			t.Errorf("another device's file went after %d", n)
		}
	})
}

func seqs(from, to uint64) (out []uint64) {
	for ; from <= to; from++ {
		out = append(out, from)
	}
	return out
}

// tardy shows some files only when it is told to.
type tardy struct {
	*queue
	hidden map[uint64]bool
	late   []spool.Key
}

func (q *tardy) Keys(_ string, after uint64, limit int, out []spool.Key) []spool.Key {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, u := range q.held {
		if u.Seq > after && !q.hidden[u.Seq] && limit > 0 {
			limit--
			out = append(out, spool.KeyOf(u))
		}
	}
	return out
}

func (q *tardy) Late(string) []spool.Key {
	q.mu.Lock()
	defer q.mu.Unlock()
	late := q.late
	q.late = nil
	return late
}

// show makes a hidden file visible.
func (q *tardy) show(seq uint64) {
	u := q.Pending("", seq-1, 1)[0]
	q.mu.Lock()
	defer q.mu.Unlock()
	q.hidden[seq] = false
	q.late = append(q.late, spool.KeyOf(u))
	select {
	case q.added <- struct{}{}:
	default:
	}
}

// Whatever the backlog and the window, however many files go at a time and
// whichever come late or fail: every file goes, none goes twice, and where one
// goes at a time those of a line keep their order.
func TestRelayWindowLosesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		files := rapid.SliceOfN(rapid.IntRange(0, 11), 1, 200).Draw(rt, "lines")
		hide := rapid.SliceOfN(rapid.IntRange(0, 9), len(files), len(files)).Draw(rt, "hidden")
		fails := rapid.SliceOfN(rapid.IntRange(0, 9), len(files), len(files)).Draw(rt, "fails")
		window, group := rapid.IntRange(1, 30).Draw(rt, "window"), rapid.IntRange(1, 4).Draw(rt, "group")
		chunk, first := rapid.IntRange(1, 50).Draw(rt, "chunk"), rapid.IntRange(0, len(files)).Draw(rt, "first")
		o := relay.Options{Name: "centre", Backoff: certain}
		o.Workers, o.PerLine = rapid.IntRange(1, 6).Draw(rt, "workers"), rapid.IntRange(1, 5).Draw(rt, "per line")
		most, left, kept := 0, 0, 0
		var st relay.Status
		var tries []try
		synctest.Test(t, func(t *testing.T) {
			q := &tardy{queue: newQueue(), hidden: map[uint64]bool{}}
			s := &sink{group: group, start: time.Now()}
			s.do = func(u uploads.Upload) error {
				time.Sleep(time.Duration(u.Seq%5) * 100 * time.Millisecond)
				s.mu.Lock()
				defer s.mu.Unlock()
				if fails[u.Seq-1] == 1 {
					fails[u.Seq-1] = 0
					return errDown
				}
				return nil
			}
			for i := range hide {
				q.hidden[uint64(i+1)] = hide[i] == 1
			}
			add := func(i int) {
				q.add(t, fmt.Sprintf("PC%d", files[i]%6), []string{"Inventories", "Logs"}[files[i]/6], i)
			}
			for i := range first {
				add(i)
			}
			o.Queue, o.Sink = q, s
			r := relay.New(o)
			r.SetWindow(window, chunk)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- r.Run(ctx) }()
			defer func() { cancel(); <-done }()
			for i := range files {
				time.Sleep(200 * time.Millisecond)
				most = max(most, r.Planned())
				if first+i < len(files) { // as it goes
					add(first + i)
				}
				if hide[i] == 1 && i < first {
					q.show(uint64(i + 1))
				}
			}
			for i := range files {
				if q.hidden[uint64(i+1)] {
					q.show(uint64(i + 1))
				}
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			tries, left, st, kept = s.tries, q.left(), r.Status(), r.Planned()
		})
		if st.Waiting != 0 || st.InFlight != 0 || left != 0 || kept != 0 {
			rt.Fatalf("%d left, %d remembered, %+v", left, kept, st)
		}
		checkWindow(rt, tries, hide, o.PerLine, len(files))
		if bound := 2*(window+o.Workers*group) + 64; most > bound {
			rt.Fatalf("%d files were planned, in a window of %d", most, window)
		}
	})
}

func checkWindow(rt *rapid.T, tries []try, hide []int, perLine, files int) {
	passed := map[uint64]int{}
	newest := map[string]uint64{}
	for _, try := range tries {
		if !try.ok {
			continue
		}
		passed[try.u.Seq]++
		line := try.u.Device.Name + try.u.Kind
		if hide[try.u.Seq-1] != 1 {
			if perLine == 1 && try.u.Seq < newest[line] {
				rt.Fatalf("%s: %d went after %d", line, try.u.Seq, newest[line])
			}
			newest[line] = try.u.Seq
		}
	}
	for seq, n := range passed {
		if n != 1 {
			rt.Fatalf("%d went %d times", seq, n)
		}
	}
	if len(passed) != files {
		rt.Fatalf("%d of %d files went", len(passed), files)
	}
}
