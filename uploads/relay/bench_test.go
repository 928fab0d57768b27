package relay_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/relay"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/uploadstest"
)

// benchDir is where the benchmarks work: a directory of a disk that syncs, named
// by BEACON_BENCH_DIR, or the test's own.
func benchDir(b *testing.B) string {
	if dir := os.Getenv("BEACON_BENCH_DIR"); dir != "" {
		dir, err := os.MkdirTemp(dir, "relay-")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { os.RemoveAll(dir) })
		return dir
	}
	return b.TempDir()
}

const benchFiles = 4000

// backlogFiles is a million in the long form.
const backlogFiles = 200_000

// BenchmarkRelayToDirectory shows how fast a backlog of 4,000 files of 50 KB
// drains into a directory, beside 16 workers that sync each file.
func BenchmarkRelayToDirectory(b *testing.B) {
	data := uploadstest.Noise(50_000, 1)
	for _, devices := range []int{benchFiles, 20, 1} {
		b.Run(fmt.Sprintf("devices=%d", devices), func(b *testing.B) {
			var took time.Duration
			for range b.N {
				b.StopTimer()
				h := openHop(b, benchDir(b))
				fill(b, h, devices, data)
				b.StartTimer()
				start := time.Now()
				h.relayWith(b, relay.Options{Sink: h.sink, Workers: 4, PerLine: 3 * h.sink.Group()}, func() bool { return h.pending() == 0 })
				took += time.Since(start)
				b.StopTimer()
				h.close(b)
			}
			b.ReportMetric(float64(b.N*benchFiles)/took.Seconds(), "files/s")
		})
	}
	b.Run("peer", func(b *testing.B) {
		var took time.Duration
		for range b.N {
			dir := benchDir(b)
			start := time.Now()
			syncEach(b, dir, data)
			took += time.Since(start)
		}
		b.ReportMetric(float64(b.N*benchFiles)/took.Seconds(), "files/s")
	})
}

// fill puts the files into the spool, side by side, since each waits for a sync.
func fill(b *testing.B, h *hop, devices int, data []byte) {
	var senders sync.WaitGroup
	for w := range 64 {
		senders.Go(func() {
			for i := w; i < benchFiles; i += 64 {
				h.accept(b, fmt.Sprintf("PC%d", i%devices), i, data)
			}
		})
	}
	senders.Wait()
}

// syncEach is what a straightforward relay does: 16 workers, each file written,
// synced, renamed and its directory synced.
func syncEach(b *testing.B, dir string, data []byte) {
	names := make(chan int)
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for i := range names {
				if err := syncOne(dir, i, data); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := range benchFiles {
		names <- i
	}
	close(names)
	workers.Wait()
}

func syncOne(dir string, i int, data []byte) error {
	temp := filepath.Join(dir, fmt.Sprintf(".%d.tmp", i))
	f, err := os.Create(temp)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(dir, fmt.Sprintf("%d.log", i))); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// backlog is a queue of a million files that nobody holds in memory.
type backlog struct {
	*queue
	files, devices uint64
}

func (q backlog) Keys(_ string, after uint64, limit int, out []spool.Key) []spool.Key {
	for seq := after + 1; seq <= q.files && limit > 0; seq, limit = seq+1, limit-1 {
		kind := "Logs"
		if seq%16 == 0 {
			kind = "Inventories"
		}
		out = append(out, spool.Key{Seq: seq, Kind: kind, Size: 50_000, Source: seq * 2654435761 % q.devices})
	}
	return out
}

func (q backlog) Pending(_ string, after uint64, _ int) []uploads.Upload {
	return []uploads.Upload{{Seq: after + 1}}
}

func (q backlog) Deliver(string, []spool.Mark) error { return nil }

// BenchmarkRelayOfBacklog shows what a backlog of a million files costs a relay, in
// time for each file and in memory, whatever the number of devices.
func BenchmarkRelayOfBacklog(b *testing.B) {
	for _, devices := range []uint64{1, 1000, 1 << 40} {
		b.Run(fmt.Sprintf("devices=%d", devices), func(b *testing.B) {
			for range b.N {
				q := backlog{newQueue(), backlogFiles, devices}
				s := &counting{done: make(chan struct{}), want: q.files}
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				r := relay.New(relay.Options{Name: "centre", Queue: q, Sink: s, Workers: 4, PerLine: 64})
				ctx, cancel := context.WithCancel(b.Context())
				done := make(chan error, 1)
				s.half = func() {
					runtime.GC()
					runtime.ReadMemStats(&after)
				}
				go func() { done <- r.Run(ctx) }()
				<-s.done
				cancel()
				<-done
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB")
			}
		})
	}
}

// counting takes everything, and looks at the memory half-way.
type counting struct {
	mu      sync.Mutex
	n, want uint64
	half    func()
	done    chan struct{}
}

func (*counting) Group() int { return 64 }

func (s *counting) Deliver(_ context.Context, parcels []uploads.Parcel) []uploads.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.n
	s.n += uint64(len(parcels))
	if was < s.want/2 && s.n >= s.want/2 {
		s.half()
	}
	if was < s.want && s.n >= s.want {
		close(s.done)
	}
	return make([]uploads.Delivery, len(parcels))
}
