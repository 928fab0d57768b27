package spool_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/disk/disktest"
	"inventorybeacon/uploads/spool/journal"
)

// onMemory opens a spool on a disk in memory, and waits until it has made what
// it makes behind the uploads, which faults are not meant for.
func onMemory(t *testing.T, m *disktest.Memory, o spool.Options) *spool.Spool {
	t.Helper()
	o.Disk = m
	s := open(t, t.TempDir(), o)
	s.WaitTidy()
	return s
}

func fill(t *testing.T, s *spool.Spool, from, n, size int) (ids []uploads.Receipt) {
	t.Helper()
	for i := from; i < from+n; i++ {
		ids = append(ids, accept(t, s, fmt.Sprintf("f%d.ndi", i), content(i, size)))
	}
	return ids
}

func expect(t *testing.T, s *spool.Spool, ids []uploads.Receipt) {
	t.Helper()
	have := map[string]int{}
	for _, u := range s.Pending("up", 0, 1<<20) {
		have[u.Receipt().ID]++
		if got := read(t, s, u.Seq); uploads.DigestOf(got) != u.Digest {
			t.Errorf("%s: wrong bytes", u.Name)
		}
	}
	for _, r := range ids {
		if have[r.ID] != 1 {
			t.Errorf("%s is held %d times, want once", r.Name, have[r.ID])
		}
	}
	if len(have) != len(ids) {
		t.Errorf("%d files held, want %d", len(have), len(ids))
	}
}

// TestReplayReportsDamageBelowMarkAsLoss: a bad record at or below a durable
// mark is a loss, told once, kept in the ledger, and its resend is stored.
func TestReplayReportsDamageBelowMarkAsLoss(t *testing.T) {
	for _, tt := range []struct {
		name  string
		at    int64 // in the record
		named bool
	}{{"body", 500, true}, {"header", 20, false}} {
		t.Run(tt.name, func(t *testing.T) {
			m := disktest.NewMemory()
			s := onMemory(t, m, small())
			ids := fill(t, s, 0, 5, 3000)
			file, from, _ := s.Place(2)
			m = m.Kill()
			m.Garble(file, from+tt.at, []byte("rot"))

			s = onMemory(t, m, small())
			rec := s.Recovery()
			if len(rec.Lost) != 1 || rec.Lost[0].Reason != spool.LossDamaged || rec.Lost[0].Upload.Seq != 2 {
				t.Fatalf("lost %+v, want number 2", rec.Lost)
			}
			if named := rec.Lost[0].Upload.Name.String() == ids[1].Name; named != tt.named {
				t.Errorf("lost %q", rec.Lost[0].Upload.Name)
			}
			expect(t, s, append(ids[:1:1], ids[2:]...))
			if _, ok := s.FindExact(kind, name(t, ids[1].Name), ids[1].SHA256); ok {
				t.Error("the lost file is found")
			}
			if r := accept(t, s, ids[1].Name, content(1, 3000)); r.Duplicate {
				t.Error("the resend of a lost file is called a repeat")
			}
			m = m.Kill()
			s = onMemory(t, m, small())
			if rec := s.Recovery(); len(rec.Lost) != 0 {
				t.Errorf("second open tells the loss again: %+v", rec.Lost)
			}
			expect(t, s, ids)
			losses := 0
			for e := range s.Events(0) {
				if e.What == spool.Lost {
					losses++
				}
			}
			if losses != 1 {
				t.Errorf("%d losses in the ledger, want 1", losses)
			}
		})
	}
}

// TestReplayCutsTailAboveMarkInSilence: what is bad above the mark was never
// acknowledged; it is no loss, and the cut is recorded.
func TestReplayCutsTailAboveMarkInSilence(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, small())
	ids := fill(t, s, 0, 5, 3000)
	file, from, to := s.Place(5)
	m = m.Kill()
	m.Garble(file, to-10, []byte("torn"))

	s = onMemory(t, m, small())
	rec := s.Recovery()
	if len(rec.Lost) != 0 || len(rec.Cuts) != 1 || rec.Cuts[0].Segment != file || rec.Cuts[0].First != 5 || rec.Clean {
		t.Fatalf("recovery %+v", rec)
	}
	expect(t, s, ids[:4])

	// Nothing inside a recorded cut is a loss, whatever becomes of it.
	m = m.Kill()
	m.Garble(file, from, []byte("more rot"))
	s = onMemory(t, m, small())
	if rec := s.Recovery(); len(rec.Lost) != 0 {
		t.Errorf("lost %+v", rec.Lost)
	}
	expect(t, s, ids[:4])
}

// TestReplayKeepsNumbersOfCutUnused: numbers that a cut range may have had are
// not given to others.
func TestReplayKeepsNumbersOfCutUnused(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, small())
	fill(t, s, 0, 3, 3000)
	m = m.Kill()
	s = onMemory(t, m, small())
	accept(t, s, "later.ndi", content(9, 10))
	pending := s.Pending("up", 0, 10)
	if last := pending[len(pending)-1].Seq; last < 3+(256<<10)/journal.Block {
		t.Errorf("number %d was given although the lost tail may have had it", last)
	}
}

// TestReplayLeavesUnknownFilesAlone and tells of them.
func TestReplayLeavesUnknownFilesAlone(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, small())
	ids := fill(t, s, 0, 3, 100)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	strangers := []string{"segments/notes.txt", "segments/00000099.seg", "blobs/README"}
	for _, n := range strangers {
		m.Put(n, []byte("somebody's"))
	}
	s = onMemory(t, m, small())
	for _, n := range strangers {
		if string(m.Contents(n)) != "somebody's" {
			t.Errorf("%s was touched", n)
		}
	}
	if got := s.Recovery().Unknown; len(got) != len(strangers) {
		t.Errorf("unknown files %q, want %q", got, strangers)
	}
	expect(t, s, ids)
}

// TestOpenAfterUncleanEndWritesToAnotherSegment; its twin: after a clean one it
// goes on in the same.
func TestOpenAfterUncleanEndWritesToAnotherSegment(t *testing.T) {
	for _, clean := range []bool{false, true} {
		t.Run(fmt.Sprintf("clean=%v", clean), func(t *testing.T) {
			m := disktest.NewMemory()
			s := onMemory(t, m, small())
			ids := fill(t, s, 0, 3, 3000)
			first, _, _ := s.Place(1)
			if clean {
				s.Close()
			} else {
				m = m.Kill()
			}
			s = onMemory(t, m, small())
			ids = append(ids, fill(t, s, 3, 1, 3000)...)
			pending := s.Pending("up", 0, 10)
			if file, _, _ := s.Place(pending[3].Seq); (file == first) != clean {
				t.Errorf("written to %s after %s", file, first)
			}
			expect(t, s, ids)
		})
	}
}

// TestSegmentIsNotTrustedAfterFailedSync: the uploads fail, others go to
// another segment, and what the failed one seems to hold is not believed.
func TestSegmentIsNotTrustedAfterFailedSync(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, small())
	ids := fill(t, s, 0, 2, 3000)
	first, _, _ := s.Place(1)
	broken := false
	m.SetFault(func(op disktest.Op, name string) error {
		if op == disktest.OpSync && name == strings.TrimSuffix(first, ".seg")+".tmp" || name == first {
			if op == disktest.OpSync && !broken {
				broken = true
				return errors.New("no such luck")
			}
			if broken && op != disktest.OpRead {
				t.Errorf("%s of the failed segment", op)
			}
		}
		return nil
	})
	if _, err := s.Accept(t.Context(), draft(t, "failed.ndi"), bytes.NewReader(content(7, 3000))); err == nil {
		t.Fatal("acknowledged although the sync failed")
	}
	ids = append(ids, fill(t, s, 2, 3, 3000)...)
	expect(t, s, ids)
	if st := s.Stats(); st.SyncErrors != 1 {
		t.Errorf("stats %+v", st)
	}
	for i := range 5 {
		c := m.Kill()
		if i > 0 {
			c = m.Cut(rand.New(rand.NewPCG(uint64(i), 0)))
		}
		s := onMemory(t, c, small())
		if rec := s.Recovery(); len(rec.Lost) != 0 {
			t.Errorf("lost %+v", rec.Lost)
		}
		expect(t, s, ids)
		s.Close()
	}
}

// TestFailedWriteIsVoided: the range does not stay a hole among acknowledged
// records, and the segment stays in use.
func TestFailedWriteIsVoided(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, small())
	ids := fill(t, s, 0, 2, 3000)
	s.WaitTidy() // what is made behind the first uploads is not to fail in their place
	fail := true
	m.SetFault(func(op disktest.Op, _ string) error {
		if op == disktest.OpWrite && fail {
			fail = false
			return errors.New("no such luck")
		}
		return nil
	})
	if _, err := s.Accept(t.Context(), draft(t, "failed.ndi"), bytes.NewReader(content(7, 3000))); err == nil {
		t.Fatal("acknowledged although the write failed")
	}
	ids = append(ids, fill(t, s, 2, 3, 3000)...)
	if st := s.Stats(); st.Segments != 1 {
		t.Errorf("%d segments, want 1", st.Segments)
	}
	m = m.Kill()
	s = onMemory(t, m, small())
	if rec := s.Recovery(); len(rec.Lost) != 0 || len(rec.Cuts) != 1 {
		t.Errorf("recovery %+v", rec)
	}
	expect(t, s, ids)
}

// TestOpenRefusesNewerVersion of the layout, a segment, or the receipts, and
// changes nothing.
func TestOpenRefusesNewerVersion(t *testing.T) {
	for _, tt := range []struct {
		file string
		off  int64
		b    []byte
	}{
		{"version", 0, []byte("3\n")},
		{"segments/00000001.seg", 8, []byte{journal.Version + 1}},
		{"receipts/receipts.log", 8, []byte{3}},
	} {
		t.Run(path.Base(tt.file), func(t *testing.T) {
			m := disktest.NewMemory()
			s := onMemory(t, m, small())
			fill(t, s, 0, 200, 3000)
			for _, u := range s.Pending("up", 0, 150) {
				if err := s.Deliver("up", []spool.Mark{{Seq: u.Seq}}); err != nil {
					t.Fatal(err)
				}
			}
			s.WaitTidy()
			m = m.Kill()
			before := map[string]string{}
			seg := tt.file
			for _, n := range m.Names() {
				if strings.HasPrefix(tt.file, "segments/") && strings.HasPrefix(n, "segments/") {
					seg = n
				}
			}
			if seg == "version" {
				m.Put(seg, tt.b)
			} else {
				m.Garble(seg, tt.off, tt.b)
			}
			for _, n := range m.Names() {
				before[n] = string(m.Contents(n))
			}
			o := small()
			o.Disk = m
			if _, err := spool.Open(t.TempDir(), o); !errors.Is(err, journal.ErrNewer) {
				t.Fatalf("open: %v, want ErrNewer", err)
			}
			after := m.Names()
			if len(after) != len(before) {
				t.Errorf("files %q, were %d", after, len(before))
			}
			for _, n := range after {
				if string(m.Contents(n)) != before[n] {
					t.Errorf("%s was changed", n)
				}
			}
		})
	}
}

// TestBodyThatImitatesRecordIsNone: a body that holds a copy of the journal, as
// a sender might who has seen one, yields no upload of its own, not even when
// the record around it is damaged.
func TestBodyThatImitatesRecordIsNone(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, small())
	ids := fill(t, s, 0, 1, 3000)
	file, from, _ := s.Place(1)
	copied := m.Contents(file)[from:]
	copied = append(make([]byte, 512-64-200), copied...)
	for i := range 4 { // at several offsets, one of which falls on a block
		ids = append(ids, accept(t, s, fmt.Sprintf("copy%d.ndi", i), copied[i:]))
	}
	_, at, _ := s.Place(3)
	m = m.Kill()
	m.Garble(file, at, []byte("rot"))
	s = onMemory(t, m, small())
	expect(t, s, append(ids[:2:2], ids[3:]...))
}

// TestRecycledSegmentForgetsItsEarlierLife: what a segment held before it was
// freed is never read again.
func TestRecycledSegmentForgetsItsEarlierLife(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, recycling())
	for round := range 6 {
		fill(t, s, round*100, 40, 3000)
		var marks []spool.Mark
		for _, u := range s.Pending("up", 0, 1000) {
			marks = append(marks, spool.Mark{Seq: u.Seq})
		}
		if err := s.Deliver("up", marks); err != nil {
			t.Fatal(err)
		}
		s.WaitTidy()
	}
	if st := s.Stats(); st.SegmentsFreed < 4 || st.Spares != 2 {
		t.Fatalf("stats %+v", st)
	}
	ids := fill(t, s, 1000, 3, 3000)
	for i := range 10 {
		c := m.Cut(rand.New(rand.NewPCG(uint64(i), 0)))
		r := onMemory(t, c, recycling())
		if rec := r.Recovery(); len(rec.Lost) != 0 || len(rec.Unknown) != 0 {
			t.Errorf("recovery %+v", rec)
		}
		expect(t, r, ids)
		r.Close()
	}
}

// TestOpenReadsNoBodiesOfSealedSegments: the index is enough.
func TestOpenReadsNoBodiesOfSealedSegments(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, recycling())
	ids := fill(t, s, 0, 200, 10<<10)
	s.WaitTidy()
	sealed := s.Stats().SegmentsSealed
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before := m.BytesRead()
	s = onMemory(t, m, recycling())
	if n := m.BytesRead() - before; sealed < 7 || n > 200*(10<<10)/2 { // the last segment is not sealed
		t.Errorf("%d bytes read of %d sealed segments", n, sealed)
	}
	expect(t, s, ids)
}

// TestDamagedIndexFallsBackToScan.
func TestDamagedIndexFallsBackToScan(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, recycling())
	ids := fill(t, s, 0, 60, 10<<10)
	s.WaitTidy()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, n := range m.Names() {
		if strings.HasPrefix(n, "segments/") {
			m.Garble(n, (256<<10)-journal.Page+30, []byte("rot"))
		}
	}
	s = onMemory(t, m, recycling())
	if rec := s.Recovery(); len(rec.Lost) != 0 || !rec.Clean {
		t.Errorf("recovery %+v", rec)
	}
	expect(t, s, ids)
}

// TestCleanEndOlderThanReceipts: the journal ends in order, and the receipts know
// of more: the segments in which that was are free again, and a power cut took the
// header of the last one, in which nothing was yet. No number is used twice, and
// none is called lost.
func TestCleanEndOlderThanReceipts(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, small())
	ids := fill(t, s, 0, 3, 100)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	older := m.Kill()
	m = m.Kill()
	s = onMemory(t, m, small())
	fill(t, s, 10, 20, 50<<10)
	deliverAll(t, s, "up")
	s.WaitTidy()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range m.Names() {
		if strings.HasPrefix(name, "receipts/") {
			older.Put(name, m.Contents(name))
		}
	}
	last := uint64(0)
	for round := range 3 {
		s = onMemory(t, older, small())
		if rec := s.Recovery(); len(rec.Lost) > 0 {
			t.Fatalf("open %d: %+v", round, rec.Lost)
		}
		ids = append(ids, fill(t, s, 100+round, 1, 100)...)
		if got := s.Pending("up", last, 10); len(got) == 0 || got[len(got)-1].Seq <= last+5 && round == 0 {
			t.Fatalf("pending %+v", got)
		} else {
			last = got[len(got)-1].Seq
		}
		older = older.Kill()
		s.Close()
	}
	s = onMemory(t, older, small())
	if rec := s.Recovery(); len(rec.Lost) > 0 || rec.Pending != len(ids) {
		t.Errorf("%+v", rec)
	}
}
