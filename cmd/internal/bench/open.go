//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
)

// The bars on opening a spool in which a million files wait.
const (
	queued       = 1_000_000
	openBar      = 10  // seconds
	openMemory   = 200 // bytes of memory a file
	openRuns     = 3   // the worst counts
	queuedBytes  = 700 // of a body: with its record about 1 KiB
	queueClients = 256
)

// benchOpen fills a spool, and opens it in processes that hold nothing else.
func benchOpen(ctx context.Context, dir string) ([]result, error) {
	mount, note, unmount, err := ext4(dir)
	if err != nil {
		return nil, err
	}
	defer unmount()
	at := filepath.Join(mount, "spool")
	fill, err := job("fill", at)
	if err != nil {
		return nil, err
	}
	if err := fill.cmd.Wait(); err != nil {
		return nil, fmt.Errorf("fill spool: %w", err)
	}
	var seconds, bytes []float64
	for range openRuns {
		rest()
		s, b, err := opened(at)
		if err != nil {
			return nil, err
		}
		seconds, bytes = append(seconds, s), append(bytes, b)
	}
	rows := []result{atMost("open with 1,000,000 files queued", "s", seconds, openBar), atMost("memory of a queued file", "B", bytes, openMemory)}
	for i := range rows {
		rows[i].Detail += "; " + note
	}
	return rows, ctx.Err()
}

func opened(at string) (seconds, bytes float64, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, 0, err
	}
	c, err := start(self, "job", "open", at)
	if err != nil {
		return 0, 0, err
	}
	defer c.stop()
	words := strings.Fields(c.line)
	if seconds, err = strconv.ParseFloat(words[0], 64); err != nil {
		return 0, 0, err
	}
	bytes, err = strconv.ParseFloat(words[1], 64)
	return seconds, bytes, err
}

var openOptions = spool.Options{
	Recycle: true, Beacon: "bench", MaxFiles: 2 * queued, Sinks: []spool.SinkName{{Name: "paused", Required: true}},
}

// fillSpool accepts what a long outage of the centre leaves: files of 50,000
// devices.
func fillSpool(args []string) error {
	s, err := spool.Open(args[0], openOptions)
	if err != nil {
		return err
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, queueClients)
	for i := range queueClients {
		wg.Go(func() {
			for n := next.Add(1); n <= queued && errs[i] == nil; n = next.Add(1) {
				errs[i] = acceptOne(s, int(n))
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return s.Close()
}

func acceptOne(s *spool.Spool, n int) error {
	device := uploads.Device{Domain: "EXAMPLE", Name: fmt.Sprintf("ws%05d", n%50_000)}
	name, err := uploads.ParseName(fmt.Sprintf("%s at 20260101T000000 (%07d).log", device.Name, n))
	if err != nil {
		return err
	}
	body := make([]byte, queuedBytes)
	binary.LittleEndian.PutUint64(body, uint64(n))
	_, err = s.Accept(context.Background(), spool.Draft{
		Kind: "Logs", Name: name, Device: device, AgentID: fmt.Sprintf("%032x", n%50_000), Peer: "192.0.2.1", Length: queuedBytes,
	}, strings.NewReader(string(body)))
	return err
}

// openSpool opens it and prints how long that took and how much memory a file
// takes, that of the process included.
func openSpool(args []string) error {
	before := resident()
	began := time.Now()
	s, err := spool.Open(args[0], openOptions)
	if err != nil {
		return err
	}
	took := time.Since(began)
	files := s.Stats().Pending
	if files != queued {
		return fmt.Errorf("%d files are queued, not %d", files, queued)
	}
	fmt.Printf("%.3f %.1f\n", took.Seconds(), float64(resident()-before)/queued)
	return s.Close()
}

// resident is what this process holds once it has given back what it can.
func resident() int64 {
	debug.FreeOSMemory()
	n, err := rss(os.Getpid())
	if err != nil {
		panic(err) // /proc is there: this is Linux
	}
	return n
}
