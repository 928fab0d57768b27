package receipts_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/disk/disktest"
	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/receipts"
)

const file = "receipts/00000001.log"

func openLog(t testing.TB, m *disktest.Memory) *receipts.Archive {
	t.Helper()
	m.Mkdir("receipts")
	l, err := receipts.Open(m, "receipts", receipts.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func made(t testing.TB, seq int, name string, version int) *receipts.Entry {
	t.Helper()
	n, err := uploads.ParseName(name)
	if err != nil {
		t.Fatal(err)
	}
	e := &receipts.Entry{}
	e.Upload.Upload = uploads.Upload{
		Seq: uint64(2 * seq), Kind: "Inventories", Name: n, Digest: uploads.DigestOf(fmt.Append(nil, name, version)),
		Device: uploads.Device{Name: "host", Domain: "EXAMPLE"}, Size: 12345, Beacon: "b1",
		Received: time.UnixMilli(int64(seq)).UTC(), Peer: "192.0.2.1",
	}
	e.Marks = []*journal.Mark{{Seq: uint64(2 * seq), Event: uint64(2*seq + 1), At: time.UnixMilli(1).UTC(), Sink: "up", Left: true}}
	return e
}

func id(e *receipts.Entry) receipts.FileID {
	return receipts.FileID{Name: receipts.NameIDOf(e.Upload.Kind, e.Upload.Name), Digest: e.Upload.Digest}
}

func has(t testing.TB, l *receipts.Archive, e *receipts.Entry) bool {
	t.Helper()
	got, err := l.FindExact(id(e))
	if err != nil {
		t.Fatal(err)
	}
	return got != nil && got.Upload.Seq == e.Upload.Seq && len(got.Marks) == len(e.Marks)
}

func TestLogKeepsEntries(t *testing.T) {
	m := disktest.NewMemory()
	l := openLog(t, m)
	var all []*receipts.Entry
	for batch := range 20 {
		var part []*receipts.Entry
		for i := range 50 {
			part = append(part, made(t, batch*50+i+1, fmt.Sprintf("f%d.ndi", i), batch))
		}
		if err := l.Append(part); err != nil {
			t.Fatal(err)
		}
		all = append(all, part...)
	}
	for range 2 {
		for _, e := range all {
			if !has(t, l, e) {
				t.Fatalf("%d is not found", e.Upload.Seq)
			}
		}
		newest, err := l.Find(id(all[7]).Name)
		if err != nil || newest.Upload.Seq != all[950+7].Upload.Seq {
			t.Errorf("newest %+v, %v", newest, err)
		}
		if l.Len() != 1000 || l.Last() != 2001 || l.Damaged() != 0 {
			t.Errorf("%d entries, last %d, %d damaged", l.Len(), l.Last(), l.Damaged())
		}
		n := uint64(2)
		for e, err := range l.Events(0) {
			if err != nil || e.Seq != n || e.Entry.Upload.Seq != n/2*2 || (e.Mark != nil) != (n%2 == 1) {
				t.Fatalf("event %d: %+v, %v", n, e, err)
			}
			n++
		}
		if n != 2002 {
			t.Errorf("events up to %d told", n)
		}
		l.Close()
		l = openLog(t, m)
	}
}

func TestLogNewestIsNotTheLost(t *testing.T) {
	l := openLog(t, disktest.NewMemory())
	kept, lost := made(t, 1, "f.ndi", 1), made(t, 2, "f.ndi", 2)
	lost.Marks[0].Reason = "refused"
	if err := l.Append([]*receipts.Entry{kept, lost}); err != nil {
		t.Fatal(err)
	}
	if e, err := l.Find(id(kept).Name); err != nil || e.Upload.Seq != kept.Upload.Seq {
		t.Errorf("newest %+v, %v", e, err)
	}
	if e, err := l.FindExact(id(lost)); err != nil || e == nil || !e.Lost() {
		t.Errorf("%+v, %v", e, err)
	}
}

// TestLogSurvivesPowerCut: what Append returned for is there; what follows it is
// cut off in silence and written over.
func TestLogSurvivesPowerCut(t *testing.T) {
	for seed := range uint64(40) {
		m := disktest.NewMemory()
		l := openLog(t, m)
		var sure []*receipts.Entry
		r := rand.New(rand.NewPCG(seed, 0))
		for i := range 12 {
			e := made(t, i+1, fmt.Sprintf("f%d.ndi", i), 0)
			fails := r.IntN(4) == 0
			if fails {
				op := []disktest.Op{disktest.OpWrite, disktest.OpSync}[r.IntN(2)]
				m.SetFault(func(o disktest.Op, _ string) error {
					if o == op {
						return errors.New("no luck")
					}
					return nil
				})
			}
			if err := l.Append([]*receipts.Entry{e}); (err != nil) != fails {
				t.Fatalf("Append = %v", err)
			}
			m.SetFault(nil)
			if !fails {
				sure = append(sure, e)
			}
			if r.IntN(4) == 0 {
				m = m.Cut(r)
				l = openLog(t, m)
			}
			for _, e := range sure {
				if !has(t, l, e) {
					t.Fatalf("seed %d: %d is not found", seed, e.Upload.Seq)
				}
			}
			if l.Damaged() > 0 {
				t.Fatalf("seed %d: a cut is called damage", seed)
			}
		}
	}
}

func TestLogReadsOverDamage(t *testing.T) {
	m := disktest.NewMemory()
	l := openLog(t, m)
	for part := range 2 {
		var all []*receipts.Entry
		for i := range 5 {
			all = append(all, made(t, part*5+i+1, fmt.Sprintf("f%d.ndi", part*5+i), 0))
		}
		if err := l.Append(all); err != nil {
			t.Fatal(err)
		}
	}
	size := int64(len(m.Contents(file)))
	m.Garble(file, size/4, []byte("rot"))
	l = openLog(t, m)
	if l.Damaged() != 1 || l.Len() != 9 {
		t.Errorf("%d stretches damaged, %d entries", l.Damaged(), l.Len())
	}
	if err := l.Append([]*receipts.Entry{made(t, 99, "new.ndi", 0)}); err != nil {
		t.Fatal(err)
	}
	if l = openLog(t, m); l.Len() != 10 || l.Damaged() != 1 {
		t.Errorf("%d stretches damaged, %d entries", l.Damaged(), l.Len())
	}
}

// TestLogTakesNoInterruptedAppendForDamage: any part of it may have reached the
// disk, the middle not.
func TestLogTakesNoInterruptedAppendForDamage(t *testing.T) {
	m := disktest.NewMemory()
	l := openLog(t, m)
	var all []*receipts.Entry
	for i := range 10 {
		all = append(all, made(t, i+1, fmt.Sprintf("f%d.ndi", i), 0))
	}
	if err := l.Append(all[:2]); err != nil {
		t.Fatal(err)
	}
	from := int64(len(m.Contents(file)))
	if err := l.Append(all[2:]); err != nil {
		t.Fatal(err)
	}
	m.Garble(file, (from+int64(len(m.Contents(file))))/2, []byte("never written"))
	for i := range 3 {
		if l = openLog(t, m); l.Damaged() != 0 || l.Len() != 9+i {
			t.Errorf("%d stretches damaged, %d entries", l.Damaged(), l.Len())
		}
		if err := l.Append([]*receipts.Entry{made(t, 99+i, "new.ndi", 0)}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLogBeginsAgain: whatever step of making the file failed in an earlier
// process, what Append returned for survives a power cut.
func TestLogBeginsAgain(t *testing.T) {
	for seed := range uint64(10) {
		for _, op := range []disktest.Op{disktest.OpWrite, disktest.OpSync, disktest.OpSyncDir} {
			m := disktest.NewMemory()
			l := openLog(t, m)
			m.SetFault(func(o disktest.Op, _ string) error {
				if o == op {
					return errors.New("no luck")
				}
				return nil
			})
			e := made(t, 1, "f.ndi", 0)
			if err := l.Append([]*receipts.Entry{e}); err == nil {
				t.Fatalf("%s failed, Append did not", op)
			}
			m = m.Kill()
			if l = openLog(t, m); has(t, l, e) {
				t.Errorf("%s failed, and there is a receipt", op)
			}
			if err := l.Append([]*receipts.Entry{e}); err != nil {
				t.Fatal(err)
			}
			m = m.Cut(rand.New(rand.NewPCG(seed, 0)))
			if l = openLog(t, m); !has(t, l, e) {
				t.Errorf("%s failed once: the receipt is gone", op)
			}
		}
	}
}

// TestLogPrefersTheLaterUpload: a file that was lost may have been sent again
// and have its receipt before the first one's segment is freed.
func TestLogPrefersTheLaterUpload(t *testing.T) {
	m := disktest.NewMemory()
	l := openLog(t, m)
	lost, again := made(t, 1, "f.ndi", 0), made(t, 7, "f.ndi", 0)
	lost.Upload.Digest = again.Upload.Digest
	lost.Marks = []*journal.Mark{{Seq: lost.Upload.Seq, Event: lost.Upload.Seq + 1, Reason: "quota", Left: true}}
	for _, e := range []*receipts.Entry{again, lost} {
		if err := l.Append([]*receipts.Entry{e}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		id := receipts.FileID{Name: receipts.NameIDOf(lost.Upload.Kind, lost.Upload.Name), Digest: lost.Upload.Digest}
		if e, err := l.FindExact(id); err != nil || e == nil || e.Upload.Seq != again.Upload.Seq {
			t.Errorf("FindExact = %+v, %v", e, err)
		}
		l = openLog(t, m)
	}
}

func TestLogRefusesNewerVersion(t *testing.T) {
	m := disktest.NewMemory()
	l := openLog(t, m)
	if err := l.Append([]*receipts.Entry{made(t, 1, "f.ndi", 0)}); err != nil {
		t.Fatal(err)
	}
	m.Garble(file, 8, []byte{3})
	if _, err := receipts.Open(m, "receipts", receipts.Options{}); !errors.Is(err, journal.ErrNewer) {
		t.Errorf("Open = %v", err)
	}
}

// BenchmarkOpen tells how long a start takes with many receipts.
func BenchmarkOpen(b *testing.B) {
	m := disktest.NewMemory()
	l := openLog(b, m)
	const n = 100_000
	var part []*receipts.Entry
	for i := range n {
		part = append(part, made(b, i+1, fmt.Sprintf("host%d at 20260101T000000.ndi.gz", i), 0))
	}
	if err := l.Append(part); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		openLog(b, m)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/receipt")
	b.ReportMetric(float64(len(m.Contents(file)))/n, "disk-B/receipt")
}
