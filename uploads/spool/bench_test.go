package spool_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"testing"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/durablefile"
	"inventorybeacon/uploads/spool"
)

// BenchmarkAccept measures durable uploads with spares ready for all of them,
// beside the plain way: a file, fsync, rename and directory fsync for each.
// SPOOL_BENCH_DIR names a directory on the disk to be measured.
func BenchmarkAccept(b *testing.B) {
	for _, bench := range []struct{ size, clients int }{{100 << 10, 16}, {20 << 10, 64}} {
		b.Run(fmt.Sprintf("%dKB/%d/journal", bench.size>>10, bench.clients), func(b *testing.B) {
			benchmarkJournal(b, bench.size, bench.clients)
		})
		b.Run(fmt.Sprintf("%dKB/%d/files", bench.size>>10, bench.clients), func(b *testing.B) {
			benchmarkFiles(b, bench.size, bench.clients)
		})
	}
}

func benchDir(b *testing.B) string {
	at := os.Getenv("SPOOL_BENCH_DIR")
	if at == "" {
		return b.TempDir()
	}
	dir, err := os.MkdirTemp(at, "spool")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// parallel runs upload with bodies that all differ.
func parallel(b *testing.B, size, clients int, upload func(i int64, body []byte) error) {
	b.SetBytes(int64(size))
	b.SetParallelism((clients + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	var n atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		body := content(1, size)
		for pb.Next() {
			i := n.Add(1)
			binary.LittleEndian.PutUint64(body, uint64(i))
			if err := upload(i, body); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "uploads/s")
}

func benchmarkJournal(b *testing.B, size, clients int) {
	s := open(b, benchDir(b), spool.Options{SegmentBytes: 64 << 20, Recycle: true, Sinks: []spool.SinkName{{Name: "up", Required: true}}})
	if err := s.Ready(b.Context(), b.N*(size+1024)/(63<<20)+2); err != nil {
		b.Fatal(err)
	}
	parallel(b, size, clients, func(i int64, body []byte) error {
		n, err := uploads.ParseName(fmt.Sprintf("h%d at 20260101T000000.ndi.gz", i))
		if err != nil {
			return err
		}
		d := spool.Draft{Kind: kind, Name: n, Device: uploads.Device{Name: "h", Domain: "D"}, Length: int64(size)}
		_, err = s.Accept(b.Context(), d, bytes.NewReader(body))
		return err
	})
	b.ReportMetric(float64(b.N)/float64(s.Stats().Syncs), "uploads/sync")
}

func benchmarkFiles(b *testing.B, size, clients int) {
	root, err := os.OpenRoot(benchDir(b))
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	parallel(b, size, clients, func(i int64, body []byte) error {
		sum := sha256.Sum256(body)
		return durablefile.Replace(root, fmt.Sprintf("%d-%x", i, sum[:8]), body, 0o600)
	})
}
