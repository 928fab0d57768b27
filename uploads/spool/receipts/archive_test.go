package receipts_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"inventorybeacon/uploads/spool/disk"
	"inventorybeacon/uploads/spool/disk/disktest"
	"inventorybeacon/uploads/spool/receipts"
)

// reads counts the reads of runs and logs.
func reads(m *disktest.Memory) *atomic.Int64 {
	n := new(atomic.Int64)
	m.SetFault(func(op disktest.Op, _ string) error {
		if op == disktest.OpRead {
			n.Add(1)
		}
		return nil
	})
	return n
}

func appendAll(t testing.TB, a *receipts.Archive, all []*receipts.Entry) {
	t.Helper()
	for part := range slices.Chunk(all, 50) {
		if err := a.Append(part); err != nil {
			t.Fatal(err)
		}
	}
}

func numbered(t testing.TB, n int) (all []*receipts.Entry) {
	t.Helper()
	for i := range n {
		all = append(all, made(t, i+1, fmt.Sprintf("ws%06d.ndi.gz", i), 0))
	}
	return all
}

// TestArchiveIsReadDuringMerges: whoever looks meanwhile finds everything that
// was appended, on the files of a real disk, which are removed behind him.
func TestArchiveIsReadDuringMerges(t *testing.T) {
	d, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Mkdir("receipts"); err != nil {
		t.Fatal(err)
	}
	a, err := receipts.Open(d, "receipts", receipts.Small(100, 2000).Background())
	if err != nil {
		t.Fatal(err)
	}
	all := numbered(t, 3000)
	var done atomic.Int64 // how many are there
	var readers sync.WaitGroup
	for seed := range uint64(3) {
		readers.Go(func() {
			r := rand.New(rand.NewPCG(seed, 0))
			for n := int64(0); n < int64(len(all)); {
				if n = done.Load(); n == 0 {
					continue
				}
				e := all[r.Int64N(n)]
				if got, err := a.FindExact(id(e)); err != nil || got == nil || got.Upload.Seq != e.Upload.Seq {
					t.Errorf("%s: %v, %v", e.Upload.Name, got, err)
					return
				}
				if got, err := a.Find(id(e).Name); err != nil || got == nil || got.Upload.Seq != e.Upload.Seq {
					t.Errorf("newest %s: %v, %v", e.Upload.Name, got, err)
					return
				}
			}
		})
	}
	readers.Go(func() {
		for n := int64(0); n < int64(len(all)); {
			n = done.Load()
			told := int64(0)
			for _, err := range a.Events(0) {
				if err != nil {
					t.Error(err)
					return
				}
				told++
			}
			if told < 2*n {
				t.Errorf("%d events of %d receipts", told, n)
				return
			}
		}
	})
	for part := range slices.Chunk(all, 50) {
		if err := a.Append(part); err != nil {
			t.Fatal(err)
		}
		done.Add(int64(len(part)))
	}
	readers.Wait()
	a.WaitIdle()
	if runs := a.Runs(); len(runs) > 3+3+3000/2000 {
		t.Errorf("runs %v", runs)
	}
	ents, err := d.ReadDir("receipts")
	if err != nil || len(ents) > len(a.Runs())+2 {
		t.Errorf("files %v, %v", ents, err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Append(all[:1]); err == nil {
		t.Error("appended after Close")
	}
}

// TestArchiveBoundsRunsAndWrites: few files, and each receipt is written a few
// times, whatever comes.
func TestArchiveBoundsRunsAndWrites(t *testing.T) {
	m := disktest.NewMemory()
	m.Mkdir("receipts")
	a, err := receipts.Open(m, "receipts", receipts.Small(100, 100*4*4*4))
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	m.SetFault(func(op disktest.Op, name string) error {
		if op == disktest.OpRename {
			made++
		}
		return nil
	})
	all := numbered(t, 10_000)
	most := 0
	for part := range slices.Chunk(all, 100) {
		if err := a.Append(part); err != nil {
			t.Fatal(err)
		}
		most = max(most, len(a.Runs()))
	}
	if full := 10_000 / 6400; most > full+3*3 {
		t.Errorf("%d runs at a time", most)
	}
	if limit := 100 + 25 + 7 + 2 + 1; made > limit { // a run for each log, then for 4 of these, 16, and 64; and the mark
		t.Errorf("%d runs made, want at most %d", made, limit)
	}
}

// TestHitCostsOneRead, and a miss none.
func TestHitCostsOneRead(t *testing.T) {
	m := disktest.NewMemory()
	m.Mkdir("receipts")
	a, err := receipts.Open(m, "receipts", receipts.Small(100, 2000))
	if err != nil {
		t.Fatal(err)
	}
	all := numbered(t, 8_000)
	appendAll(t, a, all)
	n := reads(m)
	for _, e := range all {
		if !has(t, a, e) {
			t.Fatalf("%s is not found", e.Upload.Name)
		}
	}
	if each := float64(n.Swap(0)) / float64(len(all)); each > 1.01 {
		t.Errorf("%.4f reads a hit in %d runs", each, len(a.Runs()))
	}
	for i := range all {
		if e, err := a.FindExact(id(made(t, 1, fmt.Sprintf("other%d.ndi", i), 0))); e != nil || err != nil {
			t.Fatalf("found %+v, %v", e, err)
		}
	}
	if each := float64(n.Swap(0)) / float64(len(all)); each > 0.005 {
		t.Errorf("%.4f reads a miss in %d runs", each, len(a.Runs()))
	}
}

// TestNameWithManyVersionsIsFoundFast: a log that every device calls the same,
// or one that is sent every minute.
func TestNameWithManyVersionsIsFoundFast(t *testing.T) {
	m := disktest.NewMemory()
	m.Mkdir("receipts")
	a, err := receipts.Open(m, "receipts", receipts.Small(1000, 100_000))
	if err != nil {
		t.Fatal(err)
	}
	var all []*receipts.Entry
	for i := range 10_000 {
		e := made(t, i+1, "status.ndi", i)
		if i >= 9_000 {
			e.Marks[0].Reason = "refused"
		}
		all = append(all, e)
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(all[:9000]), func(i, j int) { all[i], all[j] = all[j], all[i] })
	newest := slices.MaxFunc(all[:9000], func(x, y *receipts.Entry) int { return int(x.Upload.Seq) - int(y.Upload.Seq) })
	appendAll(t, a, append(all, numbered(t, 1000)...))
	n := reads(m)
	if e, err := a.Find(id(all[0]).Name); err != nil || e == nil || e.Upload.Seq != newest.Upload.Seq {
		t.Errorf("newest %+v, %v", e, err)
	}
	if n := n.Swap(0); n > 200 {
		t.Errorf("%d reads for the newest in %d runs", n, len(a.Runs()))
	}
	for _, e := range all[8000:] {
		if !has(t, a, e) {
			t.Fatalf("%d is not found", e.Upload.Seq)
		}
	}
	if each := n.Swap(0) / 2000; each > int64(8*len(a.Runs())) {
		t.Errorf("%d reads for each in %d runs", each, len(a.Runs()))
	}
}

// TestArchiveForgets what nothing has happened to for long, and never the
// numbers.
func TestArchiveForgets(t *testing.T) {
	const day = 24 * time.Hour
	m := disktest.NewMemory()
	a := openSmall(t, m)
	m.Mkdir("receipts")
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	all := numbered(t, 400)
	for i, e := range all {
		e.Upload.Received = begin.Add(time.Duration(i) * 6 * time.Hour) // 100 days
		e.Marks[0].At = e.Upload.Received.Add(time.Hour)
	}
	all[7].Marks[0].At = begin.Add(99 * day) // it left much later than it came
	appendAll(t, a, all)
	last := a.Last()
	horizon := begin.Add(50 * day)
	for range 2 {
		if err := a.Prune(horizon); err != nil {
			t.Fatal(err)
		}
		a.WaitIdle()
	}
	for _, e := range append(all[201:], all[7]) {
		if !has(t, a, e) {
			t.Fatalf("%s was forgotten too soon", e.Upload.Name)
		}
	}
	if due := a.Len() - 200; due > 200/3 {
		t.Errorf("%d of 200 that are due are still there", due)
	}
	before := a.Len()
	if err := a.Prune(begin); err != nil { // the clock went back
		t.Fatal(err)
	}
	if a.WaitIdle(); a.Len() != before {
		t.Errorf("%d receipts, then %d", before, a.Len())
	}
	if err := a.Prune(begin.Add(200 * day)); err != nil {
		t.Fatal(err)
	}
	a.WaitIdle()
	for range 3 {
		if a.Len() != 0 || a.Last() != last {
			t.Errorf("%d receipts, last %d, want %d", a.Len(), a.Last(), last)
		}
		for e := range a.Events(0) {
			t.Errorf("event %d", e.Seq)
		}
		a.Close()
		m = m.Cut(rand.New(rand.NewPCG(1, 1)))
		a = openSmall(t, m)
		if err := a.Prune(begin.Add(200 * day)); err != nil {
			t.Fatal(err)
		}
		a.WaitIdle()
	}
	later := made(t, 4000, "later.ndi", 0)
	appendAll(t, a, []*receipts.Entry{later})
	if !has(t, a, later) || a.Len() != 1 {
		t.Errorf("%d receipts", a.Len())
	}
}

// TestArchiveWorksWhileRunsCannotBeMade: the disk is too full for a merge.
func TestArchiveWorksWhileRunsCannotBeMade(t *testing.T) {
	m := disktest.NewMemory()
	a := openSmall(t, m)
	m.Mkdir("receipts")
	m.SetFault(func(op disktest.Op, name string) error {
		if op == disktest.OpWrite && strings.Contains(name, ".run") {
			return errors.New("no space")
		}
		return nil
	})
	all := numbered(t, 300)
	appendAll(t, a, all[:200])
	if len(a.Runs()) != 0 {
		t.Fatalf("runs %v", a.Runs())
	}
	for range 2 {
		for _, e := range all[:200] {
			if !has(t, a, e) {
				t.Fatalf("%s is not found", e.Upload.Name)
			}
		}
		a.Close()
		m = m.Cut(rand.New(rand.NewPCG(1, 1)))
		a = openSmall(t, m)
	}
	appendAll(t, a, all[200:])
	if len(a.Runs()) == 0 {
		t.Error("no runs although there is room again")
	}
	for _, e := range all {
		if !has(t, a, e) {
			t.Fatalf("%s is not found", e.Upload.Name)
		}
	}
}
