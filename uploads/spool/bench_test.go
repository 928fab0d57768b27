package spool_test

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"testing"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
)

// BenchmarkAccept measures durable uploads with spares ready for all of them.
// SPOOL_BENCH_DIR names a directory on the disk to be measured.
func BenchmarkAccept(b *testing.B) {
	for _, bench := range []struct{ size, clients int }{{100 << 10, 16}, {20 << 10, 64}} {
		b.Run(fmt.Sprintf("%dKB/%d", bench.size>>10, bench.clients), func(b *testing.B) {
			dir := b.TempDir()
			if at := os.Getenv("SPOOL_BENCH_DIR"); at != "" {
				var err error
				if dir, err = os.MkdirTemp(at, "spool"); err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { os.RemoveAll(dir) })
			}
			benchmarkAccept(b, dir, bench.size, bench.clients)
		})
	}
}

func benchmarkAccept(b *testing.B, dir string, size, clients int) {
	s := open(b, dir, spool.Options{SegmentBytes: 64 << 20, Recycle: true, Sinks: []spool.SinkName{{Name: "up", Required: true}}})
	if err := s.Ready(b.Context(), b.N*(size+1024)/(63<<20)+2); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(size))
	b.SetParallelism((clients + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	var n atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		body := content(1, size)
		for pb.Next() {
			i := n.Add(1)
			copy(body, fmt.Sprintf("%016d", i))
			nm, _ := uploads.ParseName(fmt.Sprintf("h%d at 20260101T000000.ndi.gz", i))
			d := spool.Draft{Kind: kind, Name: nm, Device: uploads.Device{Name: "h", Domain: "D"}, Length: int64(size)}
			if _, err := s.Accept(b.Context(), d, bytes.NewReader(body)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	st := s.Stats()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "uploads/s")
	b.ReportMetric(float64(b.N)/float64(st.Syncs), "uploads/sync")
}
