package spool_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
)

const kind = "Inventories"

func open(t testing.TB, dir string, o spool.Options) *spool.Spool {
	t.Helper()
	s, err := spool.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// small is a spool of small segments with one sink.
func small() spool.Options {
	return spool.Options{
		SegmentBytes: 256 << 10, Beacon: "b1",
		Sinks: []spool.SinkName{{Name: "up", Required: true}},
	}
}

func recycling() spool.Options {
	o := small()
	o.Recycle, o.Spares = true, 2
	return o
}

func name(t testing.TB, s string) uploads.Name {
	t.Helper()
	n, err := uploads.ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func draft(t testing.TB, file string) spool.Draft {
	return spool.Draft{Kind: kind, Name: name(t, file), Device: uploads.Device{Name: "host", Domain: "D"}, Length: -1}
}

func accept(t testing.TB, s *spool.Spool, file string, body []byte) uploads.Receipt {
	t.Helper()
	r, err := s.Accept(t.Context(), draft(t, file), bytes.NewReader(body))
	if err != nil {
		t.Fatalf("accept %s: %v", file, err)
	}
	return r
}

// content is a body of n bytes that no other seed gives.
func content(seed, n int) []byte {
	b := make([]byte, n)
	copy(b, fmt.Sprintf("body %d ", seed))
	for i := 16; i < n; i++ {
		b[i] = byte(i * (seed + 7))
	}
	return b
}

func read(t testing.TB, s *spool.Spool, seq uint64) []byte {
	t.Helper()
	f, err := s.Body(seq)
	if err != nil {
		t.Fatalf("body %d: %v", seq, err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func reopen(t testing.TB, s *spool.Spool, dir string, o spool.Options) *spool.Spool {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, dir, o)
}

func TestSpoolKeepsWhatItAccepted(t *testing.T) {
	for _, o := range []struct {
		name string
		spool.Options
	}{{"growing", small()}, {"recycled", recycling()}} {
		t.Run(o.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, o.Options)
			bodies := [][]byte{nil, content(1, 1), content(2, 5000), content(3, 60<<10), content(4, 100<<10), content(5, 3<<20)}
			for i, b := range bodies {
				accept(t, s, fmt.Sprintf("f%d.ndi", i), b)
			}
			for round := range 3 {
				pending := s.Pending("up", 0, 100)
				if len(pending) != len(bodies) {
					t.Fatalf("round %d: %d pending, want %d", round, len(pending), len(bodies))
				}
				for i, u := range pending {
					if got := read(t, s, u.Seq); !bytes.Equal(got, bodies[i]) || u.Digest != uploads.DigestOf(got) {
						t.Errorf("round %d: file %d is not what was sent", round, i)
					}
				}
				s = reopen(t, s, dir, o.Options)
				if rec := s.Recovery(); !rec.Clean || len(rec.Cuts)+len(rec.Lost)+len(rec.Unknown)+rec.Orphans > 0 {
					t.Errorf("round %d: recovery %+v", round, rec)
				}
			}
		})
	}
}

func TestSpoolForgetsWhatWasDelivered(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, recycling())
	var all []uploads.Receipt
	for i := range 100 {
		all = append(all, accept(t, s, fmt.Sprintf("f%d.ndi", i), content(i, 20<<10)))
		for _, u := range s.Pending("up", 0, 100) {
			if err := s.Deliver("up", []spool.Mark{{Seq: u.Seq}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 3 {
		for i, want := range all {
			r := accept(t, s, fmt.Sprintf("F%d.ndi", i), content(i, 20<<10))
			if !r.Duplicate || r.ID != want.ID || !r.Received.Equal(want.Received) {
				t.Fatalf("repeat of file %d: %+v, want %+v", i, r, want)
			}
		}
		if st := s.Stats(); st.Pending != 0 {
			t.Errorf("stats %+v", st)
		}
		s = reopen(t, s, dir, recycling())
	}
}
