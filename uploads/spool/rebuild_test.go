package spool_test

import (
	"testing"

	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/disk/disktest"
	"inventorybeacon/uploads/spool/journal"
)

// TestDamagedMarkHoldsNoSegment: a mark that a file in an older segment still
// needs is damaged. What it did is told again, so that its segment is freed, and
// nothing that was settled is open again after a restart.
func TestDamagedMarkHoldsNoSegment(t *testing.T) {
	m := disktest.NewMemory()
	o := small()
	o.Sinks = []spool.SinkName{{Name: "a", Required: true}, {Name: "b", Required: true}, {Name: "c", Required: true}}
	s := onMemory(t, m, o)
	fill(t, s, 0, 10, 20<<10) // fill the first segment, and stay
	fill(t, s, 10, 10, 20<<10)
	deliver := func(sink string, seq uint64) {
		t.Helper()
		if err := s.Deliver(sink, []spool.Mark{{Seq: seq}}); err != nil {
			t.Fatal(err)
		}
	}
	deliver("a", 2)
	deliver("b", 2)
	if err := s.Refuse("c", 3, "smells"); err != nil {
		t.Fatal(err)
	}
	if err := s.Lose(4, spool.LossOperator, "by hand"); err != nil {
		t.Fatal(err)
	}
	if err := s.Supersede(5, "a newer one"); err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{6, 7} {
		if err := s.Flag(seq, "odd"); err != nil {
			t.Fatal(err)
		}
	}
	for _, seq := range []uint64{2, 3, 4, 5, 6, 7} {
		files, at := s.MarkPlaces(seq)
		for i := range files {
			m.Garble(files[i], at[i]+journal.RecordHeader+2, []byte("garbage"))
		}
	}
	if err := s.Flag(7, "odd"); err != nil {
		t.Error("a damaged flag keeps another from being recorded:", err)
	}
	if lost, err := s.Losses(0, 10); err != nil || len(lost) != 1 || lost[0].Upload.Seq != 4 {
		t.Errorf("losses %+v, %v", lost, err)
	}
	was, _ := s.MarkPlaces(2)
	fill(t, s, 20, 30, 20<<10)
	for _, k := range s.Keys("c", 12, 40, nil) {
		for _, sink := range []string{"a", "b", "c"} {
			deliver(sink, k.Seq)
		}
	}
	s.WaitTidy()
	if is, _ := s.MarkPlaces(2); is[0] == was[0] || is[1] == was[1] {
		t.Error("the segment of the damaged marks is not freed")
	}
	check := func(when string) {
		t.Helper()
		waits := map[string]map[uint64]bool{}
		for _, sink := range []string{"a", "b", "c"} {
			waits[sink] = map[uint64]bool{}
			for _, k := range s.Keys(sink, 0, 100, nil) {
				waits[sink][k.Seq] = true
			}
		}
		for _, w := range []struct {
			seq     uint64
			a, b, c bool
		}{{1, true, true, true}, {2, false, false, true}, {3, true, true, false}, {4, false, false, false}, {5, false, false, false}, {6, true, true, true}} {
			if waits["a"][w.seq] != w.a || waits["b"][w.seq] != w.b || waits["c"][w.seq] != w.c {
				t.Errorf("%s: file %d waits for a %v, b %v, c %v", when, w.seq, waits["a"][w.seq], waits["b"][w.seq], waits["c"][w.seq])
			}
		}
	}
	check("then")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = onMemory(t, m, o)
	check("after a restart")
	if lost := events(t, s, spool.Lost); len(lost) != 1 || lost[0].Upload.Seq != 4 || lost[0].Reason != spool.LossDamaged {
		t.Errorf("losses %+v", lost)
	}
	if flags := events(t, s, spool.Flagged); len(flags) != 1 || flags[0].Upload.Seq != 7 {
		t.Errorf("flags %+v", flags)
	}
}
