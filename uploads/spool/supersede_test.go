package spool_test

import (
	"errors"
	"strings"
	"testing"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
)

// A file that a newer one replaces is gone for every sink, also after a restart,
// and is neither delivered, nor skipped, nor lost.
func TestSupersededFileIsNoLoss(t *testing.T) {
	dir := t.TempDir()
	var events []spool.Event
	open := func() *spool.Spool {
		s, err := spool.Open(dir, spool.Options{
			SegmentBytes: 64 << 10, Beacon: "b", Observe: func(e spool.Event) { events = append(events, e) },
			Sinks: []spool.SinkName{{Name: "up", Required: true}, {Name: "aside"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	for _, body := range []string{"one", "two"} {
		name, err := uploads.ParseName("b at 20260102T030405 (" + body + ").ndjson")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Accept(t.Context(), spool.Draft{Kind: "BeaconStatus", Name: name, Length: -1}, strings.NewReader(body)); err != nil {
			t.Fatal(err)
		}
	}
	held := s.Held(0, 10, nil)
	if len(held) != 2 {
		t.Fatalf("%d are held", len(held))
	}
	if err := s.Supersede(held[0].Seq, "two"); err != nil {
		t.Fatal(err)
	}
	if err := s.Supersede(held[0].Seq, "two"); !errors.Is(err, uploads.ErrUnknown) {
		t.Errorf("again: %v", err)
	}
	if e := events[len(events)-1]; e.What != spool.Replaced || !e.Left || e.Detail != "replaced by two" || e.Upload.Seq != held[0].Seq {
		t.Errorf("the event is %+v", e)
	}
	st := s.Stats()
	if st.Pending != 1 || st.Delivered != 0 || len(st.Lost) != 0 || st.Sinks["aside"].Skipped != 0 || st.Sinks["up"].Pending != 1 {
		t.Errorf("stats %+v", st)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open()
	defer s.Close()
	if again := s.Held(0, 10, nil); len(again) != 1 || again[0].Seq != held[1].Seq {
		t.Errorf("after a restart %v are held", again)
	}
	if lost, err := s.Losses(0, 10); err != nil || len(lost) != 0 {
		t.Errorf("losses %v, %v", lost, err)
	}
}
