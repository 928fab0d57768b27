package spool_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/disk/disktest"
)

func events(t testing.TB, s *spool.Spool, what spool.What) (out []spool.Event) {
	t.Helper()
	for e, err := range s.Events(0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.What == what {
			out = append(out, e)
		}
	}
	return out
}

// freed lets files come and go until the segment of the first ones is freed.
func freed(t testing.TB, s *spool.Spool, sink string) {
	t.Helper()
	for i := 0; s.Stats().SegmentsFreed == 0; i++ {
		if i == 100 {
			t.Fatal("no segment was freed")
		}
		accept(t, s, fmt.Sprintf("filler%d.ndi", i), content(i, 60<<10))
		deliverAll(t, s, sink)
		s.WaitTidy()
	}
}

// TestFlagStaysWithFile, which is relayed all the same.
func TestFlagStaysWithFile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	accept(t, s, "f.ndi", content(1, 100))
	for range 2 { // the second one says nothing new
		if err := s.Flag(1, "no root element"); err != nil {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		got := events(t, s, spool.Flagged)
		if len(got) != 1 || got[0].Detail != "no root element" || got[0].Upload.Name.String() != "f.ndi" || got[0].Left {
			t.Errorf("flags %+v", got)
		}
	}
	for range 2 {
		check()
		if n := len(s.Pending("up", 0, 10)); n != 1 {
			t.Fatalf("%d files pending", n)
		}
		s = reopen(t, s, dir, small())
	}
	deliverAll(t, s, "up")
	if err := s.Flag(1, "too late"); !errors.Is(err, uploads.ErrUnknown) {
		t.Errorf("flag of a file that left: %v", err)
	}
	freed(t, s, "up")
	check()
	s = reopen(t, s, dir, small())
	check()
	if r := accept(t, s, "f.ndi", content(1, 100)); !r.Duplicate {
		t.Error("a flagged file was lost")
	}
}

// TestRefusalOfOneSinkLeavesOthers: the file leaves when the last one is
// settled, and it is a loss if one that must have it refused it.
func TestRefusalOfOneSinkLeavesOthers(t *testing.T) {
	o := small()
	o.Sinks = []spool.SinkName{{Name: "a", Required: true}, {Name: "b", Required: true}, {Name: "c"}}
	for _, tt := range []struct {
		name    string
		refuse  []string
		deliver []string
		refused bool // refuse comes last
		lost    bool
	}{
		{"required, then delivered", []string{"a"}, []string{"b"}, false, true},
		{"delivered, then required", []string{"a"}, []string{"b"}, true, true},
		{"both", []string{"a", "b"}, nil, false, true},
		{"optional", []string{"c"}, []string{"a", "b"}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, o)
			accept(t, s, "f.ndi", content(1, 100))
			refuse := func() {
				for _, sink := range tt.refuse {
					if err := s.Refuse(sink, 1, "too ugly"); err != nil {
						t.Fatal(err)
					}
					if len(s.Pending(sink, 0, 10)) != 0 {
						t.Errorf("%s refused it and is offered it again", sink)
					}
					s = reopen(t, s, dir, o)
					if len(s.Pending(sink, 0, 10)) != 0 {
						t.Errorf("%s refused it and is offered it after a restart", sink)
					}
				}
			}
			if !tt.refused {
				refuse()
			}
			for _, sink := range tt.deliver {
				if len(s.Pending(sink, 0, 10)) != 1 {
					t.Fatalf("not pending for %s", sink)
				}
				deliverAll(t, s, sink)
			}
			if tt.refused {
				refuse()
			}
			for range 2 {
				if st := s.Stats(); st.Pending != 0 {
					t.Fatalf("stats %+v", st)
				}
				if got := events(t, s, spool.Refused); len(got) != len(tt.refuse) || got[0].Sink != tt.refuse[0] || got[0].Detail != "too ugly" {
					t.Errorf("refusals %+v", got)
				}
				lost := events(t, s, spool.Lost)
				if (len(lost) == 1) != tt.lost || tt.lost && (lost[0].Reason != spool.LossRefused || !lost[0].Left) {
					t.Errorf("losses %+v", lost)
				}
				if _, ok := s.FindExact(kind, name(t, "f.ndi"), uploads.DigestOf(content(1, 100))); ok == tt.lost {
					t.Errorf("found %v", ok)
				}
				s = reopen(t, s, dir, o)
			}
			if err := s.Refuse("a", 1, "again"); !errors.Is(err, uploads.ErrUnknown) {
				t.Errorf("refusal of a file that left: %v", err)
			}
		})
	}
}

// TestRefusedFileLeavesWithItsDestination: the one it still waited for is no
// longer configured.
func TestRefusedFileLeavesWithItsDestination(t *testing.T) {
	o := small()
	o.Sinks = []spool.SinkName{{Name: "a", Required: true}, {Name: "b", Required: true}}
	dir := t.TempDir()
	s := open(t, dir, o)
	accept(t, s, "f.ndi", content(1, 100))
	if err := s.Refuse("a", 1, "too ugly"); err != nil {
		t.Fatal(err)
	}
	o.Sinks = o.Sinks[:1]
	s = reopen(t, s, dir, o)
	if lost := events(t, s, spool.Lost); len(lost) != 1 || lost[0].Reason != spool.LossRefused || s.Stats().Pending != 0 {
		t.Errorf("losses %+v", lost)
	}
}

// TestCustodyIsLearntLater, at every stage of a file's life, and told by its
// receipt ever after.
func TestCustodyIsLearntLater(t *testing.T) {
	body := content(1, 100)
	store := uploads.Custody{Level: uploads.LevelStore, Beacon: "top"}
	for _, stage := range []string{"held", "left", "archived"} {
		t.Run(stage, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, small())
			accept(t, s, "f.ndi", body)
			if stage != "held" {
				deliverAll(t, s, "up")
			}
			if stage == "archived" {
				freed(t, s, "up")
			}
			for range 2 {
				if err := s.Learn(kind, name(t, "F.ndi"), uploads.DigestOf(body), []uploads.Custody{store}); err != nil {
					t.Fatal(err)
				}
			}
			check := func(when string) {
				t.Helper()
				r, ok := s.FindExact(kind, name(t, "f.ndi"), uploads.DigestOf(body))
				if !ok || len(r.Custody) != 2 || r.Custody[1] != store {
					t.Errorf("%s: exact receipt %+v", when, r)
				}
				if r, ok := s.Find(kind, name(t, "f.ndi")); !ok || !slices.Contains(r.Custody, store) {
					t.Errorf("%s: receipt %+v", when, r)
				}
				got := events(t, s, spool.Learnt)
				if len(got) != 1 || got[0].Upload.Seq != 1 || !slices.Equal(got[0].Custody, []uploads.Custody{store}) {
					t.Errorf("%s: events %+v", when, got)
				}
			}
			check("at once")
			s = reopen(t, s, dir, small())
			check("after a restart")
			deliverAll(t, s, "up")
			for s.Stats().SegmentsFreed < 3 {
				freed(t, s, "up")
				accept(t, s, fmt.Sprintf("more%d.ndi", s.Stats().Accepted), content(int(s.Stats().Accepted), 60<<10))
				deliverAll(t, s, "up")
				s.WaitTidy()
			}
			check("once all is archived")
			s = reopen(t, s, dir, small())
			check("after another restart")
		})
	}
	s := open(t, t.TempDir(), small())
	if err := s.Learn(kind, name(t, "f.ndi"), uploads.DigestOf(body), []uploads.Custody{store}); !errors.Is(err, uploads.ErrUnknown) {
		t.Errorf("custody of an unknown file: %v", err)
	}
}

// TestLossesAreToldInOrder, from the journal and from the receipts.
func TestLossesAreToldInOrder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	lose := func(n int) {
		for i := range n {
			accept(t, s, fmt.Sprintf("lost%d-%d.ndi", s.Stats().Accepted, i), content(i, 100))
			u := s.Pending("up", 0, 1)[0]
			if err := s.Lose(u.Seq, spool.LossOperator, "by hand"); err != nil {
				t.Fatal(err)
			}
		}
	}
	lose(3)
	freed(t, s, "up")
	lose(3)
	all := events(t, s, spool.Lost)
	for range 2 {
		var got []spool.Event
		for after := uint64(0); ; {
			page, err := s.Losses(after, 2)
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, page...); len(page) < 2 {
				break
			}
			after = page[1].Seq
		}
		if len(got) != 6 || fmt.Sprint(got) != fmt.Sprint(all) {
			t.Errorf("losses %+v, want %+v", got, all)
		}
		s = reopen(t, s, dir, small())
	}
}

// TestLossesAreToldWhileTheirSegmentIsFreed: whoever asks meanwhile is told of
// them, wherever their receipts are just then.
func TestLossesAreToldWhileTheirSegmentIsFreed(t *testing.T) {
	o := small()
	o.SegmentBytes, o.MaxAge = 4<<20, time.Minute
	s := onMemory(t, disktest.NewMemory(), o)
	fill(t, s, 0, 5000, 10)
	if err := s.Expire(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var freed atomic.Bool
	for range 4 {
		all.Go(func() {
			for !freed.Load() && !t.Failed() {
				if got, err := s.Losses(0, 1); err != nil || len(got) != 1 {
					t.Errorf("%d losses, %v", len(got), err)
				}
			}
		})
	}
	fill(t, s, 5000, 5, 1<<20) // a segment that is full is freed
	s.WaitTidy()
	freed.Store(true)
	all.Wait()
	if s.Stats().SegmentsFreed == 0 {
		t.Error("no segment was freed")
	}
}

// TestLearntOutlivesItsSegment: the receipt is in the archive, and somebody still
// reads the record when something is learnt, of which the segment is done with
// before that.
func TestLearntOutlivesItsSegment(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, small())
	r := accept(t, s, "f.ndi", content(1, 100))
	fill(t, s, 1, 8, 50<<10)
	var letGo func()
	m.SetFault(func(op disktest.Op, name string) error {
		if letGo == nil && op == disktest.OpWrite && strings.HasPrefix(name, "receipts/") {
			letGo = s.Pin(1)
		}
		return nil
	})
	deliverAll(t, s, "up")
	s.WaitTidy()
	if letGo == nil {
		t.Fatal("no receipt was written")
	}
	n := name(t, "f.ndi")
	if err := s.Learn(kind, n, r.SHA256, []uploads.Custody{{Level: uploads.LevelStore, Beacon: "far"}}); err != nil {
		t.Fatal(err)
	}
	fill(t, s, 10, 16, 50<<10)
	deliverAll(t, s, "up")
	s.WaitTidy()
	for _, when := range []string{"still read", "freed"} {
		if got, ok := s.FindExact(kind, n, r.SHA256); !ok || len(got.Custody) != 2 {
			t.Errorf("%s: %v, custody %+v", when, ok, got.Custody)
		}
		if got := events(t, s, spool.Learnt); len(got) != 1 || got[0].Upload.Name != n {
			t.Errorf("%s: events %+v", when, got)
		}
		if when == "still read" {
			letGo()
			s.WaitTidy()
		}
	}
	if st := s.Stats(); st.Segments > 2 {
		t.Errorf("%d segments, %d freed", st.Segments, st.SegmentsFreed)
	}
}
