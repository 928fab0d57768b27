package spool_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/disk/disktest"
	"inventorybeacon/uploads/spool/journal"
)

// TestCutOfAForgottenLifeCutsNoOther: when the first sync of a segment fails,
// the cut is recorded; a power cut may then bring back the header it had before,
// and the segment is used again.
func TestCutOfAForgottenLifeCutsNoOther(t *testing.T) {
	for seed := range uint64(40) {
		m := disktest.NewMemory()
		s := onMemory(t, m, small())
		failed := ""
		m.SetFault(func(op disktest.Op, name string) error {
			switch {
			case op == disktest.OpSync && strings.HasSuffix(name, ".seg") && failed == "":
				failed = name
				return errors.New("no such luck")
			case op == disktest.OpRemove && name == failed:
				return errors.New("not now")
			}
			return nil
		})
		if _, err := s.Accept(t.Context(), draft(t, "failed.ndi"), bytes.NewReader(content(7, 3000))); err == nil {
			t.Fatal("acknowledged although the sync failed")
		}
		ids := fill(t, s, 0, 2, 3000)
		for n := range 3 {
			m.SetFault(nil)
			m = m.Cut(rand.New(rand.NewPCG(seed, uint64(n))))
			s.Close()
			s = onMemory(t, m, small())
			if rec := s.Recovery(); len(rec.Lost) != 0 {
				t.Fatalf("seed %d: lost %+v", seed, rec.Lost)
			}
			expect(t, s, ids)
			ids = append(ids, fill(t, s, 2+2*n, 2, 3000)...)
		}
		expect(t, s, ids)
		s.Close()
	}
}

// TestFileThatLeftStaysAway: whatever destinations the next runs know, also
// none, as when an operator looks into the spool of a stopped beacon. The body
// is gone, and nothing may call that a loss.
func TestFileThatLeftStaysAway(t *testing.T) {
	both := small()
	both.Sinks = []spool.SinkName{{Name: "a", Required: true}, {Name: "b", Required: true}}
	others := small()
	others.Sinks = []spool.SinkName{{Name: "c", Required: true}}
	nobody := small()
	nobody.Sinks = nil
	mark := []spool.Mark{{Seq: 1}}
	for what, leave := range map[string]func(*spool.Spool, string) *spool.Spool{
		"both tell at once": func(s *spool.Spool, _ string) *spool.Spool {
			var all sync.WaitGroup
			for _, sink := range []string{"a", "b"} {
				all.Go(func() {
					if err := s.Deliver(sink, mark); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			return s
		},
		"the other is not configured any longer": func(s *spool.Spool, dir string) *spool.Spool {
			if err := s.Deliver("a", mark); err != nil {
				t.Error(err)
			}
			alone := both
			alone.Sinks = both.Sinks[:1]
			return reopen(t, s, dir, alone)
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, both)
			r := accept(t, s, "large.ndi", content(1, 80_000)) // a body in a file of its own
			s = leave(s, dir)
			for _, o := range []spool.Options{nobody, others, both} {
				s = reopen(t, s, dir, o)
				if rec := s.Recovery(); len(rec.Lost) != 0 || s.Stats().Pending != 0 {
					t.Fatalf("%d destinations: lost %+v, %d pending", len(o.Sinks), rec.Lost, s.Stats().Pending)
				}
				if got, ok := s.FindExact(kind, name(t, "large.ndi"), r.SHA256); !ok || got.ID != r.ID {
					t.Errorf("FindExact = %+v, %v", got, ok)
				}
			}
		})
	}
}

// TestLossThatCameTooLateIsNone: a destination took the file while it was being
// given up. Who asks is told the same after a restart.
func TestLossThatCameTooLateIsNone(t *testing.T) {
	o := small()
	dir := t.TempDir()
	s := open(t, dir, o)
	found := map[string]bool{}
	for i := range 50 {
		r := accept(t, s, fmt.Sprintf("f%d.ndi", i), content(i, 100))
		seq := s.Pending(o.Sinks[0].Name, 0, 1)[0].Seq
		var all sync.WaitGroup
		all.Go(func() {
			if err := s.Lose(seq, spool.LossOperator, "by hand"); err != nil && !errors.Is(err, uploads.ErrUnknown) {
				t.Error(err)
			}
		})
		all.Go(func() {
			if err := s.Deliver(o.Sinks[0].Name, []spool.Mark{{Seq: seq}}); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
		_, found[r.Name] = s.FindExact(kind, name(t, r.Name), r.SHA256)
	}
	s = reopen(t, s, dir, o)
	for i := range 50 {
		file := fmt.Sprintf("f%d.ndi", i)
		if _, ok := s.FindExact(kind, name(t, file), uploads.DigestOf(content(i, 100))); ok != found[file] {
			t.Errorf("%s: found %v, after the restart %v", file, found[file], ok)
		}
	}
}

// TestLostFileSentAgainIsKnown: also when the second one's segment is freed
// before the first one's, where another file still waits.
func TestLostFileSentAgainIsKnown(t *testing.T) {
	o := small()
	sink := o.Sinks[0].Name
	dir := t.TempDir()
	s := open(t, dir, o)
	accept(t, s, "waits.ndi", content(1, 100))
	body := content(2, 3000)
	r := accept(t, s, "again.ndi", body)
	if err := s.Lose(2, spool.LossOperator, "by hand"); err != nil {
		t.Fatal(err)
	}
	full := s.Stats().Segments + 1
	for i := 3; s.Stats().Segments < full; i++ {
		accept(t, s, fmt.Sprintf("f%d.ndi", i), content(i, 3000))
	}
	accept(t, s, "again.ndi", body)
	for i := 100; s.Stats().Segments < full+1; i++ {
		accept(t, s, fmt.Sprintf("f%d.ndi", i), content(i, 3000))
	}
	var marks []spool.Mark
	for _, u := range s.Pending(sink, 1, 1000) {
		marks = append(marks, spool.Mark{Seq: u.Seq})
	}
	if err := s.Deliver(sink, marks); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"before", "after", "long after"} {
		s.WaitTidy()
		if got, ok := s.FindExact(kind, name(t, "again.ndi"), r.SHA256); !ok {
			t.Errorf("%s the restart: FindExact = %+v, %v", when, got, ok)
		}
		if got := accept(t, s, "again.ndi", body); !got.Duplicate {
			t.Errorf("%s the restart: the repeat was stored", when)
		}
		if when == "after" {
			deliverAll(t, s, sink)
			accept(t, s, "last.ndi", content(5, 100))
		}
		s = reopen(t, s, dir, o)
	}
	if n := s.Stats().Receipts; n == 0 {
		t.Error("no segment was freed")
	}
}

// TestSmallerSegmentsTakeLargeRecords: those that an earlier run with larger
// segments left to be copied.
func TestSmallerSegmentsTakeLargeRecords(t *testing.T) {
	m := disktest.NewMemory()
	large, least := small(), small()
	large.SegmentBytes, least.SegmentBytes = 8<<20, 64<<10
	s := onMemory(t, m, large)
	ids := fill(t, s, 0, 2, 1_000_000)
	for range 2 {
		m = m.Kill()
		s.Close()
		s = onMemory(t, m, least)
		expect(t, s, ids)
	}
	ids = append(ids, fill(t, s, 2, 2, 1_000_000)...)
	expect(t, s, ids)
}

// TestSpoolUsesNoFileWhoseNameIsNotDurable: an earlier process was killed just
// before it would have been.
func TestSpoolUsesNoFileWhoseNameIsNotDurable(t *testing.T) {
	for seed := range uint64(10) {
		m := disktest.NewMemory()
		s := onMemory(t, m, small())
		m.SetFault(func(op disktest.Op, name string) error {
			if op == disktest.OpSyncDir {
				return errors.New("killed")
			}
			return nil
		})
		if _, err := s.Accept(t.Context(), draft(t, "failed.ndi"), bytes.NewReader(content(7, 3000))); err == nil {
			t.Fatal("acknowledged although a directory was not synced")
		}
		m = m.Kill()
		s.Close()
		s = onMemory(t, m, small())
		ids := fill(t, s, 0, 2, 3000)
		m = m.Cut(rand.New(rand.NewPCG(seed, 0)))
		s.Close()
		expect(t, onMemory(t, m, small()), ids)
	}
}

// TestFailedCutFailsNothingLater: a disk that works again takes the next upload.
func TestFailedCutFailsNothingLater(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, small())
	ids := fill(t, s, 0, 2, 3000)
	m.SetFault(func(op disktest.Op, name string) error {
		if op == disktest.OpSync && strings.HasSuffix(name, ".seg") {
			return errors.New("no such luck")
		}
		return nil
	})
	fails := func(file string) {
		if _, err := s.Accept(t.Context(), draft(t, file), bytes.NewReader(content(7, 3000))); err == nil {
			t.Fatal("acknowledged on a disk that fails")
		}
	}
	fails("sync.ndi")
	writes := 0
	m.SetFault(func(op disktest.Op, name string) error {
		if op == disktest.OpWrite && strings.HasSuffix(name, ".seg") {
			if writes++; writes > 1 { // the header of the next segment, then the cut
				return errors.New("no such luck")
			}
		}
		return nil
	})
	fails("cut.ndi")
	m.SetFault(nil)
	ids = append(ids, fill(t, s, 2, 2, 3000)...)
	expect(t, s, ids)
	for i := range 5 {
		c := m.Cut(rand.New(rand.NewPCG(uint64(i), 0)))
		s := onMemory(t, c, small())
		expect(t, s, ids)
		s.Close()
	}
}

// TestReceiptOutlivesItsCustody: who has the file is damaged on disk; that it was
// accepted is not.
func TestReceiptOutlivesItsCustody(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, small())
	r := accept(t, s, "f.ndi", content(1, 100))
	deliverAll(t, s, "up")
	file, _, to := s.Place(1)
	m.Garble(file, journal.AlignPage(to)+journal.RecordHeader+2, []byte("garbage"))
	n := name(t, "f.ndi")
	if got, ok := s.Find(kind, n); !ok || got.ID != r.ID {
		t.Errorf("newest: %v, %+v", ok, got)
	}
	if got, ok := s.FindExact(kind, n, r.SHA256); !ok || got.ID != r.ID {
		t.Errorf("exactly: %v, %+v", ok, got)
	}
}
