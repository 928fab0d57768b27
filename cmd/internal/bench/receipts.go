//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/disk"
	"inventorybeacon/uploads/spool/disk/disktest"
	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/receipts"
)

// The bars on the receipts of files that left, at ten million.
const (
	kept          = 10_000_000
	keptAtOnce    = 20_000 // appended together, as when segments are freed
	keptOpenBar   = 10     // seconds
	keptDiskBar   = 200    // bytes a receipt
	keptMemoryBar = 2      // bytes a receipt
	keptReadsBar  = 1.02   // reads a hit: now and then two receipts share a hash
	keptAsked     = 20_000
	receiptsDir   = "receipts"
)

// benchReceipts fills an archive, and opens and asks it in processes of their own.
func benchReceipts(ctx context.Context, dir string) ([]result, error) {
	at := filepath.Join(dir, "archive")
	defer os.RemoveAll(at)
	fill, err := job("receipts-fill", at)
	if err != nil {
		return nil, err
	}
	if err := fill.cmd.Wait(); err != nil {
		return nil, fmt.Errorf("fill the archive: %w", err)
	}
	values := make([][]float64, 4)
	for range openRuns {
		rest()
		words, err := lineOf("receipts-open", at)
		if err != nil {
			return nil, err
		}
		for i := range values {
			var v float64
			if _, err := fmt.Sscan(words[i], &v); err != nil {
				return nil, err
			}
			values[i] = append(values[i], v)
		}
	}
	rows := []result{
		atMost("open with 10,000,000 receipts", "s", values[0], keptOpenBar),
		atMost("disk of a receipt", "B", values[1], keptDiskBar),
		atMost("memory of a receipt", "B", values[2], keptMemoryBar),
		atMost("disk reads of a receipt that is there", "", values[3], keptReadsBar),
	}
	for i := range rows {
		rows[i].Detail = fmt.Sprintf("%.3f", values[i])
	}
	return rows, ctx.Err()
}

// lineOf runs a job that prints one line, and returns its words.
func lineOf(name string, args ...string) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c, err := start(self, append([]string{"job", name}, args...)...)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	return strings.Fields(c.line), nil
}

// keptReceipt is that of one of many inventories that went to a parent.
func keptReceipt(i int) *receipts.Entry {
	r := rand.New(rand.NewPCG(uint64(i), 11))
	device := fmt.Sprintf("HOST-%07d", r.IntN(50_000))
	at := time.UnixMilli(1_790_000_000_000 + int64(i)*777).UTC()
	name, err := uploads.ParseName(device + " at " + at.Format(uploads.TimestampLayout) + ".ndi.gz")
	if err != nil {
		panic(err) // it is one
	}
	var digest uploads.Digest
	for n := range 4 {
		binary.LittleEndian.PutUint64(digest[8*n:], r.Uint64())
	}
	e := &receipts.Entry{}
	e.Upload.Upload = uploads.Upload{
		Seq: uint64(2*i + 1), Kind: "Inventories", Name: name, Digest: digest, Size: 10_000 + r.Int64N(200_000),
		Device: uploads.Device{Name: device, Domain: "EXAMPLE"}, AgentID: fmt.Sprintf("%032x", digest[:4]),
		Received: at, Modified: at.Truncate(time.Second), Beacon: "berlin-1", Peer: fmt.Sprintf("10.%d.%d.%d", r.IntN(4), r.IntN(256), r.IntN(256)),
	}
	took := at.Add(time.Duration(r.IntN(5_000)) * time.Millisecond)
	e.Marks = []*journal.Mark{{
		Seq: e.Upload.Seq, Event: e.Upload.Seq + 1, At: took, Sink: "parent", Left: true,
		Custody: []uploads.Custody{{Level: uploads.LevelParent, Beacon: "head-office", At: took}},
	}}
	return e
}

func fillReceipts(args []string) error {
	if err := os.MkdirAll(filepath.Join(args[0], receiptsDir), 0o755); err != nil {
		return err
	}
	d, err := disk.Open(args[0])
	if err != nil {
		return err
	}
	defer d.Close()
	a, err := receipts.Open(d, receiptsDir, receipts.Options{})
	if err != nil {
		return err
	}
	for i := 0; i < kept; i += keptAtOnce {
		some := make([]*receipts.Entry, keptAtOnce)
		for n := range some {
			some[n] = keptReceipt(i + n)
		}
		if err := a.Append(some); err != nil {
			return err
		}
		if err := paced(filepath.Join(args[0], receiptsDir)); err != nil {
			return err
		}
	}
	if err := settled(filepath.Join(args[0], receiptsDir)); err != nil {
		return err
	}
	return a.Close()
}

// paced waits until what came has been merged, as it is where receipts come as
// slowly as segments are freed. Logs are merged first: a merge of runs may begin a
// moment after the last.
func paced(dir string) error {
	for quiet := 0; quiet < 2; {
		logs, err := filepath.Glob(filepath.Join(dir, "0*.log"))
		if err != nil {
			return err
		}
		unfinished, err := filepath.Glob(filepath.Join(dir, "*.tmp"))
		if err != nil {
			return err
		}
		quiet++
		if len(logs) > 1 || len(unfinished) > 0 {
			quiet = 0
		}
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}

// settled waits until nothing is merged any longer.
func settled(dir string) error {
	const quiet = 5 * time.Second
	before, since := "", time.Now()
	for time.Since(since) < quiet {
		time.Sleep(quiet / 10)
		names, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			return err
		}
		n, err := sizeOf(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // one was just replaced
		}
		if err != nil {
			return err
		}
		if now := fmt.Sprint(n, names); now != before {
			before, since = now, time.Now()
		}
	}
	return nil
}

// openReceipts opens the archive and prints how long that took, the bytes on disk
// and in memory of a receipt, and the reads of one that is asked for.
func openReceipts(args []string) error {
	plain, err := disk.Open(args[0])
	if err != nil {
		return err
	}
	d := &disktest.Counted{Disk: plain}
	defer d.Close()
	before := heap()
	began := time.Now()
	a, err := receipts.Open(d, receiptsDir, receipts.Options{})
	if err != nil {
		return err
	}
	took := time.Since(began)
	memory := heap() - before
	if n := a.Len(); n != kept {
		return fmt.Errorf("%d receipts are there, not %d", n, kept)
	}
	bytes, err := sizeOf(filepath.Join(args[0], receiptsDir))
	if err != nil {
		return err
	}
	ids := make([]receipts.FileID, keptAsked)
	for i := range ids {
		u := keptReceipt(rand.IntN(kept)).Upload
		ids[i] = receipts.FileID{Name: receipts.NameIDOf(u.Kind, u.Name), Digest: u.Digest}
	}
	d.Reads.Store(0)
	for _, id := range ids {
		if e, err := a.FindExact(id); e == nil || err != nil {
			return fmt.Errorf("a receipt is not there: %w", err)
		}
	}
	fmt.Printf("%.3f %.2f %.3f %.4f\n", took.Seconds(), float64(bytes)/kept, float64(memory)/kept, float64(d.Reads.Load())/keptAsked)
	return a.Close()
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func sizeOf(dir string) (n int64, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return 0, err
		}
		n += info.Size()
	}
	return n, nil
}
