package spool_test

import (
	"bytes"
	"errors"
	"testing"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
)

// TestBoundOnFiles refuses one more, and takes it once one left.
func TestBoundOnFiles(t *testing.T) {
	o := small()
	o.MaxFiles = 2
	s := open(t, t.TempDir(), o)
	accept(t, s, "a.ndi", content(1, 10))
	accept(t, s, "b.ndi", content(2, 10))
	if r := accept(t, s, "a.ndi", content(1, 10)); !r.Duplicate {
		t.Error("a repeat is not called one")
	}
	if _, err := s.Accept(t.Context(), draft(t, "c.ndi"), bytes.NewReader(content(3, 10))); !errors.Is(err, uploads.ErrFull) {
		t.Fatalf("third file: %v", err)
	}
	if err := s.Deliver("up", []spool.Mark{{Seq: 1}}); err != nil {
		t.Fatal(err)
	}
	accept(t, s, "c.ndi", content(3, 10))
}

// TestNewcomerDisplacesNothingBetter: a log does not push out usage; usage does
// push out a log.
func TestNewcomerDisplacesNothingBetter(t *testing.T) {
	o := small()
	o.MaxFiles = 2
	o.GiveUp = func(u uploads.Upload, newest bool) int {
		return map[string]int{"Logs": 0, "UsageData": 4, kind: map[bool]int{false: 1, true: 3}[newest]}[u.Kind]
	}
	s := open(t, t.TempDir(), o)
	put := func(k, file string) error {
		d := draft(t, file)
		d.Kind = k
		_, err := s.Accept(t.Context(), d, bytes.NewReader([]byte(file)))
		return err
	}
	for _, tt := range []struct {
		kind, file string
		full       bool
		held       [2]string
	}{
		{"UsageData", "u1.mmi", false, [2]string{"u1.mmi"}},
		{"Logs", "l1.log", false, [2]string{"u1.mmi", "l1.log"}},
		{"Logs", "l2.log", false, [2]string{"u1.mmi", "l2.log"}},
		{kind, "i1.ndi", false, [2]string{"u1.mmi", "i1.ndi"}},
		{"Logs", "l3.log", true, [2]string{"u1.mmi", "i1.ndi"}},
		{kind, "i2.ndi", false, [2]string{"u1.mmi", "i2.ndi"}},
		{"UsageData", "u2.mmi", false, [2]string{"u1.mmi", "u2.mmi"}},
		{kind, "i3.ndi", true, [2]string{"u1.mmi", "u2.mmi"}},
		{"UsageData", "u3.mmi", false, [2]string{"u2.mmi", "u3.mmi"}},
	} {
		if err := put(tt.kind, tt.file); errors.Is(err, uploads.ErrFull) != tt.full || err != nil && !tt.full {
			t.Fatalf("%s: %v", tt.file, err)
		}
		var held [2]string
		for i, u := range s.Pending("up", 0, 10) {
			held[i] = u.Name.String()
		}
		if held != tt.held {
			t.Fatalf("after %s: held %q, want %q", tt.file, held, tt.held)
		}
	}
}

// TestUsageCountsBySource what is held, across restarts.
func TestUsageCountsBySource(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	put := func(file string, d spool.Draft) {
		d.Kind, d.Name, d.Length = kind, name(t, file), -1
		if _, err := s.Accept(t.Context(), d, bytes.NewReader(content(len(file), 100))); err != nil {
			t.Fatal(err)
		}
	}
	put("a.ndi", spool.Draft{Device: uploads.Device{Domain: "D", Name: "PC1"}})
	put("ab.ndi", spool.Draft{Device: uploads.Device{Domain: "d", Name: "pc1"}})
	put("abc.ndi", spool.Draft{Peer: "192.0.2.1"})
	put("abcd.ndi", spool.Draft{Device: uploads.Device{Domain: "D", Name: "PC1"}, Via: []string{"leaf"}})
	for range 2 {
		for source, want := range map[string]int{"device:d/pc1": 2, "peer:192.0.2.1": 1, "beacon:leaf": 1, "device:d/other": 0} {
			if files, bytes := s.Usage(source); files != want || bytes != int64(want)*100 {
				t.Errorf("%s: %d files of %d bytes, want %d", source, files, bytes, want)
			}
		}
		s = reopen(t, s, dir, small())
	}
	deliverAll(t, s, "up")
	if files, bytes := s.Usage("device:d/pc1"); files != 0 || bytes != 0 {
		t.Errorf("after delivery: %d files of %d bytes", files, bytes)
	}
}
