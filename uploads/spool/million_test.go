package spool_test

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/disk"
)

// An unsynced disk is fast to fill. What is measured is not what survives.
type unsynced struct{ disk.Disk }

func (d unsynced) Open(name string) (disk.File, error) {
	f, err := d.Disk.Open(name)
	return unsyncedFile{f}, err
}

func (d unsynced) Create(name string) (disk.File, error) {
	f, err := d.Disk.Create(name)
	return unsyncedFile{f}, err
}

func (d unsynced) SyncDir(string) error { return nil }

type unsyncedFile struct{ disk.File }

func (unsyncedFile) Sync() error { return nil }

// queueMany leaves n small files of as many devices in a spool, and returns what
// each takes in memory.
func queueMany(t *testing.T, dir string, n int) (perFile float64) {
	t.Helper()
	d, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	o := millionOptions()
	o.Disk = unsynced{d}
	before := memory()
	s := open(t, dir, o)
	var all sync.WaitGroup
	const senders = 64
	for c := range senders {
		all.Go(func() {
			for i := c; i < n; i += senders {
				name, err := uploads.ParseName(fmt.Sprintf("host-%07d at 20260101T000000.ndi.gz", i))
				if err != nil {
					t.Error(err)
					return
				}
				d := spool.Draft{
					Kind: kind, Name: name, Device: uploads.Device{Domain: "EXAMPLE", Name: fmt.Sprintf("host-%07d", i)},
					AgentID: fmt.Sprintf("%032x", i), Peer: fmt.Sprintf("2001:db8::%x", i), Length: 16,
				}
				if _, err := s.Accept(t.Context(), d, strings.NewReader(fmt.Sprintf("%016d", i))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	s.WaitTidy()
	perFile = float64(memory()-before) / float64(n)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return perFile
}

func millionOptions() spool.Options {
	return spool.Options{SegmentBytes: 64 << 20, Beacon: "b1", Spares: -1, Sinks: []spool.SinkName{{Name: "up", Required: true}}}
}

// memory is what the process keeps: of the machine's memory, where the system
// tells, else of the heap.
func memory() int64 {
	debug.FreeOSMemory()
	debug.FreeOSMemory() // what pools held, and what waits for a cleanup, is free after the second one
	b, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := bytes.Cut(b, []byte("VmRSS:"))
	if fields := bytes.Fields(rest); len(fields) > 0 {
		if kb, err := strconv.ParseInt(string(fields[0]), 10, 64); err == nil {
			return kb << 10
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestOpenMillion opens a spool of very many queued files, each of a device of
// its own: it reads no bodies, and what it keeps of a file is bounded.
func TestOpenMillion(t *testing.T) {
	n := 20_000
	switch full := os.Getenv("BEACON_TEST_FULL") != ""; {
	case raced:
		n = 5000
	case full:
		n = 1_000_000
	}
	dir := t.TempDir()
	began := time.Now()
	accepting := queueMany(t, dir, n)
	filled := time.Since(began)
	before := memory()
	began = time.Now()
	s := open(t, dir, millionOptions())
	took := time.Since(began)
	opened := float64(memory()-before) / float64(n)
	t.Logf("%d files accepted in %v, %.0f bytes of memory each; opened in %v, %.0f bytes each",
		n, filled.Round(time.Millisecond), accepting, took.Round(time.Millisecond), opened)
	if st := s.Stats(); st.Pending != n {
		t.Fatalf("%d files held, want %d", st.Pending, n)
	}
	bound := 200.0
	if n < 1_000_000 {
		bound = 600 // mostly what a spool takes that holds nothing
	}
	if !raced && (accepting > bound || opened > bound) {
		t.Errorf("a queued file takes %.0f bytes when accepted, %.0f when opened; %.0f are allowed", accepting, opened, bound)
	}
	last := s.Keys("up", uint64(n-1), 10, nil)
	if len(last) != 1 || last[0].Seq != uint64(n) || string(read(t, s, last[0].Seq)) == "" {
		t.Errorf("last files %+v", last)
	}
	if files, bytes := s.Usage("device:example/host-0000007"); files != 1 || bytes != 16 {
		t.Errorf("usage %d, %d", files, bytes)
	}
}
