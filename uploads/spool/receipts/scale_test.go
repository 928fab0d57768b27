package receipts_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"runtime"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/disk"
	"inventorybeacon/uploads/spool/disk/disktest"
	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/receipts"
)

// usual is the receipt of one of many inventories that a child beacon sent to
// its parent, and heard of again when the store had it.
func usual(i int) *receipts.Entry {
	r := rand.New(rand.NewPCG(uint64(i), 11))
	device := fmt.Sprintf("HOST-%07d", r.IntN(50_000))
	at := time.UnixMilli(1_790_000_000_000 + int64(i)*777 + r.Int64N(777)).UTC()
	name, err := uploads.ParseName(device + " at " + at.Add(-time.Minute).Format("20060102T150405") + ".ndi.gz")
	if err != nil {
		panic(err)
	}
	var digest uploads.Digest
	for n := range 4 {
		binary.LittleEndian.PutUint64(digest[8*n:], r.Uint64())
	}
	// A device's id is always the same.
	agent := rand.New(rand.NewPCG(uint64(r.IntN(50_000)), 12))
	e := &receipts.Entry{}
	e.Upload.Upload = uploads.Upload{
		Seq: uint64(3*i + 1), Kind: "Inventories", Name: name, Digest: digest, Size: 10_000 + r.Int64N(200_000),
		Device: uploads.Device{Name: device, Domain: "EXAMPLE"}, AgentID: fmt.Sprintf("%016x%016x", agent.Uint64(), agent.Uint64()),
		Received: at, Modified: at.Add(-time.Duration(r.Int64N(60_000)) * time.Millisecond).Truncate(time.Second),
		Beacon: "berlin-1", Peer: fmt.Sprintf("10.%d.%d.%d", r.IntN(4), r.IntN(256), r.IntN(256)),
	}
	took, stored := at.Add(time.Duration(r.Int64N(5_000_000))*time.Microsecond), at.Add(time.Duration(r.Int64N(600_000))*time.Millisecond)
	e.Marks = []*journal.Mark{{
		Seq: e.Upload.Seq, Event: e.Upload.Seq + 1 + 3*uint64(r.IntN(300)), At: took, Sink: "parent", Left: true,
		Custody: []uploads.Custody{{Level: uploads.LevelParent, Beacon: "head-office", At: took}},
	}, {
		Seq: e.Upload.Seq, Event: e.Upload.Seq + 902 + 3*uint64(r.IntN(3000)), At: stored, Sort: journal.Learnt,
		Custody: []uploads.Custody{{Level: uploads.LevelStore, Beacon: "head-office", At: stored}},
	}}
	return e
}

// fill makes n receipts lie as they do when they have come one after the other:
// in large runs, up to three of each smaller size, and a log.
func fill(t testing.TB, dir string, n int) *disktest.Counted {
	t.Helper()
	d, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	if err := d.Mkdir("receipts"); err != nil {
		t.Fatal(err)
	}
	low, done := uint64(1), 0
	for size := 1 << 20; size >= 1<<14; size /= 4 {
		for made := 0; (made < 3 || size == 1<<20) && n-done > size; made++ {
			if err := receipts.RunOf(d, "receipts", low, low, size, func(i int) *receipts.Entry { return usual(done + i) }); err != nil {
				t.Fatal(err)
			}
			low, done = low+1, done+size
		}
	}
	a, err := receipts.Open(d, "receipts", receipts.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var rest []*receipts.Entry
	for ; done < n; done++ {
		rest = append(rest, usual(done))
	}
	if err := a.Append(rest); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return &disktest.Counted{Disk: d}
}

// figures are what an archive costs for each receipt.
type figures struct {
	runs              int
	disk, guide, heap float64 // bytes
	open              time.Duration
	hit, miss         float64 // reads
	hitTime, missTime time.Duration
}

func measure(t testing.TB, dir string, n int) (f figures, a *receipts.Archive) {
	t.Helper()
	d := fill(t, dir, n)
	before := heap()
	began := time.Now()
	a, err := receipts.Open(d, "receipts", receipts.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	f.open = time.Since(began)
	f.heap = float64(heap()-before) / float64(n)
	f.guide = float64(a.Memory()) / float64(n)
	f.runs = len(a.Runs())
	f.disk = float64(size(t, path.Join(dir, "receipts"))) / float64(n)
	const asked = 20_000
	ask := func(of func(i int) *receipts.Entry, want bool) (float64, time.Duration) {
		r := rand.New(rand.NewPCG(1, 1))
		ids := make([]receipts.FileID, asked)
		for i := range ids {
			ids[i] = id(of(r.IntN(n)))
		}
		d.Reads.Store(0)
		began := time.Now()
		for _, f := range ids {
			if e, err := a.FindExact(f); err != nil || (e != nil) != want {
				t.Fatalf("found %v, %v", e, err)
			}
		}
		return float64(d.Reads.Load()) / asked, time.Since(began) / asked
	}
	f.hit, f.hitTime = ask(usual, true)
	f.miss, f.missTime = ask(func(i int) *receipts.Entry { return usual(n + i) }, false)
	return f, a
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func size(t testing.TB, dir string) (n int64) {
	t.Helper()
	ents, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, ent := range ents {
		i, err := ent.Info()
		if err != nil {
			t.Fatal(err)
		}
		n += i.Size()
	}
	return n
}

// TestReceiptsAreSmall in memory and on disk, and found with one read.
func TestReceiptsAreSmall(t *testing.T) {
	n := 20_000
	if os.Getenv("BEACON_TEST_FULL") != "" {
		n = 60_000
	}
	f, _ := measure(t, t.TempDir(), n)
	t.Logf("%d receipts: %+v", n, f)
	f.check(t, n)
}

func (f figures) check(t testing.TB, n int) {
	t.Helper()
	const fixed = 2 << 20 // for tables of the log, and what a process has anyway
	switch {
	case f.disk > 200:
		t.Errorf("%.1f bytes on disk", f.disk)
	case f.guide > 2:
		t.Errorf("%.3f bytes in memory", f.guide)
	case f.heap > 2+fixed/float64(n):
		t.Errorf("%.3f bytes in memory in all", f.heap)
	case f.hit > 1.02:
		t.Errorf("%.4f reads a hit", f.hit)
	case f.miss > 0.02:
		t.Errorf("%.4f reads a miss", f.miss)
	}
}

// BenchmarkReceipts10M tells what ten million cost; it takes some 4 GB of disk
// for a moment and a few minutes.
func BenchmarkReceipts10M(b *testing.B) {
	const n = 10_000_000
	dir := b.TempDir()
	for b.Loop() {
		f, a := measure(b, dir, n)
		f.check(b, n)
		b.ReportMetric(f.open.Seconds()*1000, "ms/open")
		b.ReportMetric(f.disk, "disk-B/receipt")
		b.ReportMetric(f.guide, "guide-B/receipt")
		b.ReportMetric(f.heap, "heap-B/receipt")
		b.ReportMetric(f.hit, "reads/hit")
		b.ReportMetric(f.miss, "reads/miss")
		b.ReportMetric(float64(f.hitTime.Nanoseconds())/1000, "us/hit")
		b.ReportMetric(float64(f.missTime.Nanoseconds())/1000, "us/miss")
		b.ReportMetric(float64(f.runs), "runs")
		began, told := time.Now(), 0
		for _, err := range a.Events(0) {
			if err != nil {
				b.Fatal(err)
			}
			told++
		}
		b.ReportMetric(time.Since(began).Seconds(), "s/replay")
		b.ReportMetric(float64(told)/n, "events/receipt")
	}
}
