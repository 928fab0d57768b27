package gate_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/content"
	"inventorybeacon/uploads/content/gate"
)

var errBad = fmt.Errorf("%w: no good", uploads.ErrContent)

type check = func(context.Context, uploads.Upload, uploads.Body) error

func sound(context.Context, uploads.Upload, uploads.Body) error { return nil }

func TestGateShowsWhatWasChecked(t *testing.T) {
	release := map[uint64]chan struct{}{}
	o := gate.Options{Workers: 3, Check: func(_ context.Context, u uploads.Upload, _ uploads.Body) error {
		<-release[u.Seq]
		return nil
	}}
	run(t, o, func(h *harness) {
		for i, device := range []string{"a", "b", "c"} {
			release[uint64(i+1)] = make(chan struct{})
			h.q.add(t, device, "Inventories", ".ndi")
		}
		h.q.add(t, "a", "Logs", ".log")
		if got := h.shown(); !slices.Equal(got, []uint64{4}) || !h.token() {
			t.Fatalf("at first %v; only the log needs no check", got)
		}
		if ups := h.Pending("s", 0, 10); len(ups) != 1 || ups[0].Seq != 4 {
			t.Errorf("Pending: %v", ups)
		}
		if ups := h.Pending("s", 0, 1); len(ups) != 0 {
			t.Errorf("the first, which is not checked: %v", ups)
		}
		close(release[2])
		if !h.token() || !slices.Equal(late(h), []uint64{2}) {
			t.Error("no word that the second may go, behind the log")
		}
		if got := h.shown(); !slices.Equal(got, []uint64{2, 4}) {
			t.Errorf("then %v", got)
		}
		close(release[1])
		close(release[3])
		if got := h.shown(); !slices.Equal(got, []uint64{1, 2, 3, 4}) {
			t.Errorf("at last %v", got)
		}
		if st := h.Stats(); st.Waiting != 0 || st.Sound != 3 {
			t.Errorf("%+v", st)
		}
	})
}

func TestGateFollowsRules(t *testing.T) {
	for _, tt := range []struct {
		name    string
		rule    content.Rule
		change  func(*uploads.Upload)
		shown   bool
		flagged bool
		kept    bool
	}{
		{name: "our agent's is refused", kept: true},
		{name: "an old agent's is flagged", change: func(u *uploads.Upload) { u.AgentID = "" }, shown: true, flagged: true},
		{name: "another beacon's is flagged", change: func(u *uploads.Upload) { u.Via = []string{"child"} }, shown: true, flagged: true},
		{name: "released by hand", change: func(u *uploads.Upload) { u.Released = true }, shown: true},
		{name: "the kind is flagged", rule: content.Flag, shown: true, flagged: true},
		{name: "the kind is refused", rule: content.Refuse, change: func(u *uploads.Upload) { u.AgentID = "" }, kept: true},
		{name: "the kind is off", rule: content.Off, shown: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := gate.Options{Check: func(context.Context, uploads.Upload, uploads.Body) error { return errBad }, Rules: content.Rules{"inventories": tt.rule}}
			run(t, o, func(h *harness) {
				seq := h.q.add(t, "a", "Inventories", ".ndi", tt.change)
				if got := h.shown(); slices.Contains(got, seq) != tt.shown {
					t.Errorf("shown %v", got)
				}
				if flagged := len(h.q.flags[seq]) == 1; flagged != tt.flagged {
					t.Errorf("flags %v", h.q.flags)
				}
				kept, lost := h.p.kept[seq], h.q.lost[seq]
				if (kept != "") != tt.kept || (lost != "") != tt.kept {
					t.Errorf("kept %q, lost %q", kept, lost)
				}
				if tt.kept && (!strings.Contains(kept, "content check: ") || !strings.HasPrefix(lost, "refused content check: ")) {
					t.Errorf("kept %q, lost %q", kept, lost)
				}
			})
		})
	}
}

func TestCheckThatFailsFlags(t *testing.T) {
	for name, tt := range map[string]struct {
		check check
		body  error
		want  string
		after time.Duration
	}{
		"crash":     {check: func(context.Context, uploads.Upload, uploads.Body) error { panic("boom\nand more") }, want: "content not checked: the check crashed: boom"},
		"slow":      {check: func(ctx context.Context, _ uploads.Upload, _ uploads.Body) error { <-ctx.Done(); return ctx.Err() }, want: "content not checked: the check took too long: more than 1m0s", after: time.Minute},
		"hanging":   {check: func(context.Context, uploads.Upload, uploads.Body) error { <-time.After(time.Hour); return nil }, want: "content not checked: the check took too long: more than 1m0s", after: 2 * time.Minute},
		"unread":    {check: sound, body: io.ErrNoProgress, want: "content not checked: the file cannot be read: " + io.ErrNoProgress.Error(), after: time.Hour},
		"half read": {check: func(context.Context, uploads.Upload, uploads.Body) error { return io.ErrClosedPipe }, want: "content not checked: the file cannot be read: " + io.ErrClosedPipe.Error(), after: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, gate.Options{Check: tt.check}, func(h *harness) {
				h.q.bodyErr = func(uint64) error { return tt.body }
				seq := h.q.add(t, "a", "Inventories", ".ndi")
				if tt.after > 0 {
					if got := h.shown(); len(got) > 0 {
						t.Errorf("shown at once: %v", got)
					}
					time.Sleep(tt.after)
				}
				if got := h.shown(); !slices.Equal(got, []uint64{seq}) {
					t.Errorf("shown %v", got)
				}
				if got := h.q.flags[seq]; len(got) != 1 || got[0] != tt.want {
					t.Errorf("flags %q, want %q", got, tt.want)
				}
				if st := h.Stats(); st.Failed != 1 || st.Waiting != 0 {
					t.Errorf("%+v", st)
				}
				time.Sleep(time.Hour) // a check that hung may end
			})
		})
	}
}

func TestFileThatLeftIsNotWaitedFor(t *testing.T) {
	run(t, gate.Options{Check: sound}, func(h *harness) {
		h.q.bodyErr = func(seq uint64) error {
			if seq == 1 {
				return fmt.Errorf("damaged: %w", uploads.ErrUnknown)
			}
			return nil
		}
		h.q.add(t, "a", "Inventories", ".ndi")
		h.q.add(t, "a", "Inventories", ".ndi")
		h.shown()
		if st := h.Stats(); st.Waiting != 0 || st.Sound != 1 || st.Failed != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// While the quarantine cannot take a bad file it stays where it is, unseen, and
// others go on.
func TestRefusedFileStaysHiddenUntilItIsKept(t *testing.T) {
	o := gate.Options{Check: func(_ context.Context, u uploads.Upload, _ uploads.Body) error {
		if u.Seq == 1 {
			return errBad
		}
		return nil
	}}
	for name, fail := range map[string]func(h *harness, err error){
		"quarantine": func(h *harness, err error) { h.p.mu.Lock(); h.p.err = err; h.p.mu.Unlock() },
		"journal":    func(h *harness, err error) { h.q.mu.Lock(); h.q.loseErr = err; h.q.mu.Unlock() },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, o, func(h *harness) {
				fail(h, errors.New("disk full"))
				h.q.add(t, "a", "Inventories", ".ndi")
				h.q.add(t, "b", "Inventories", ".ndi")
				time.Sleep(time.Hour)
				if got := h.shown(); !slices.Equal(got, []uint64{2}) {
					t.Errorf("shown %v", got)
				}
				fail(h, nil)
				time.Sleep(2 * time.Minute)
				if got := h.shown(); !slices.Equal(got, []uint64{2}) || h.p.kept[1] == "" || h.q.lost[1] == "" {
					t.Errorf("shown %v, kept %v, lost %v", got, h.p.kept, h.q.lost)
				}
			})
		})
	}
}

func TestGateLooksAtABoundedNumber(t *testing.T) {
	var release chan struct{}
	run(t, gate.Options{Check: func(context.Context, uploads.Upload, uploads.Body) error { <-release; return nil }}, func(h *harness) {
		release = make(chan struct{})
		const files = 10_000
		for i := range files {
			h.q.add(t, fmt.Sprint("d", i%700), "Inventories", ".ndi")
		}
		if got := h.shown(); len(got) != 0 {
			t.Errorf("%d shown", len(got))
		}
		if st := h.Stats(); st.Waiting > 4096 || st.Waiting == 0 {
			t.Errorf("%+v", st)
		}
		close(release)
		if got := h.shown(); len(got) != files {
			t.Errorf("%d shown in the end", len(got))
		}
	})
}

// One device's many files do not hold up another's, and each device's are shown
// in order.
func TestDevicesTakeTurns(t *testing.T) {
	var mu sync.Mutex
	var order []string
	o := gate.Options{Workers: 2, Check: func(_ context.Context, u uploads.Upload, _ uploads.Body) error {
		time.Sleep(time.Duration(1+rand.IntN(100)) * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		order = append(order, fmt.Sprint(u.Device.Name, " ", u.Seq))
		return nil
	}}
	run(t, o, func(h *harness) {
		for range 200 {
			h.q.add(t, "greedy", "Inventories", ".ndi")
		}
		last := h.q.add(t, "modest", "Inventories", ".ndi")
		time.Sleep(time.Minute)
		if got := h.shown(); len(got) != 201 {
			t.Fatalf("%d shown", len(got))
		}
		at := slices.Index(order, fmt.Sprint("modest ", last))
		if at > 3 {
			t.Errorf("the modest device's file was checked after %d of the greedy one's", at)
		}
		greedy := slices.DeleteFunc(order, func(s string) bool { return strings.HasPrefix(s, "modest") })
		for i, s := range greedy {
			if s != fmt.Sprint("greedy ", i+1) {
				t.Fatalf("the %d-th check was of %s", i+1, s)
			}
		}
	})
}

// While uploads come one after the other, checks leave them most of the
// processor; but not for ever, and not once it is quiet.
func TestChecksMakeWayForUploads(t *testing.T) {
	o := gate.Options{Workers: 1, Check: func(context.Context, uploads.Upload, uploads.Body) error {
		time.Sleep(10 * time.Millisecond)
		return nil
	}}
	run(t, o, func(h *harness) {
		n := 0
		come := func(files int, gap time.Duration) (checked int) {
			before := len(h.shown())
			for range files {
				h.q.add(t, fmt.Sprint("d", n), "Inventories", ".ndi")
				n++
				time.Sleep(gap)
			}
			return len(h.shown()) - before
		}
		if got := come(10, 20*time.Millisecond); got < 9 {
			t.Errorf("%d of 10 that came slowly were checked as they came", got)
		}
		if got := come(5000, time.Millisecond); got < 50 || got > 120 {
			t.Errorf("%d checked in five seconds of a burst, want a tenth of 500", got)
		}
		time.Sleep(2 * time.Second) // the end of the burst is noticed
		before := len(h.shown())
		time.Sleep(time.Second)
		if got := len(h.shown()) - before; got < 95 {
			t.Errorf("%d checked in a second of quiet", got)
		}
		time.Sleep(time.Minute)
		come(3000, 10*time.Millisecond)
		if got := come(100, 10*time.Millisecond); got < 95 {
			t.Errorf("%d checked in a second of a burst that has gone on for half a minute", got)
		}
	})
}

// What a relay reads, by Keys from where it got to and by Late, is every file
// once it is checked, whatever the order in which checks end.
func TestNothingIsPassedOver(t *testing.T) {
	o := gate.Options{Workers: 8, Check: func(context.Context, uploads.Upload, uploads.Body) error {
		time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
		return nil
	}}
	run(t, o, func(h *harness) {
		const files = 2000
		go func() {
			for i := range files {
				kind, ext := "Inventories", ".ndi"
				if i%5 == 0 {
					kind, ext = "Logs", ".log"
				}
				h.q.add(t, fmt.Sprint("d", i%97), kind, ext)
				if i%10 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		}()
		got, cursor := map[uint64]bool{}, uint64(0)
		for deadline := time.After(time.Hour); len(got) < files; {
			select {
			case <-h.Added("s"):
			case <-deadline:
				t.Fatalf("%d of %d files were shown", len(got), files)
			}
			for _, k := range h.Late("s") {
				got[k.Seq] = true
			}
			for {
				keys := h.Keys("s", cursor, 64, nil)
				for _, k := range keys {
					got[k.Seq], cursor = true, k.Seq
				}
				if len(keys) < 64 {
					break
				}
			}
		}
	})
}

func TestStoppedGateLeavesFilesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, p := newQueue(), &pen{kept: map[uint64]string{}}
		g := gate.New(gate.Options{Queue: q, Sinks: []string{"s"}, Quarantine: p, Check: func(ctx context.Context, _ uploads.Upload, _ uploads.Body) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		q.add(t, "a", "Inventories", ".ndi")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Run(ctx); err != context.DeadlineExceeded {
			t.Errorf("Run = %v", err)
		}
		if len(q.flags) > 0 || len(q.lost) > 0 || len(p.kept) > 0 || len(g.Keys("s", 0, 9, nil)) > 0 {
			t.Errorf("flags %v, lost %v, kept %v", q.flags, q.lost, p.kept)
		}
	})
}
