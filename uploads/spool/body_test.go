package spool_test

import (
	"errors"
	"io"
	"io/fs"
	"testing"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/disk"
	"inventorybeacon/uploads/spool/disk/disktest"
)

// TestClosedBodyIsNotRead: its memory is another's by then, and given to one only.
func TestClosedBodyIsNotRead(t *testing.T) {
	s := open(t, t.TempDir(), small())
	ids := fill(t, s, 0, 3, 3000)
	closed, err := s.Body(1)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.ReadFull(closed, make([]byte, 1000)); err != nil {
		t.Fatalf("open: %d bytes, %v", n, err)
	}
	for range 2 {
		if err := closed.Close(); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, 10)
	_, read := closed.Read(b)
	_, readAt := closed.ReadAt(b, 0)
	_, seek := closed.Seek(0, io.SeekStart)
	for _, err := range []error{read, readAt, seek} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
	var others []uploads.Body
	for seq := range uint64(2) {
		o, err := s.Body(2 + seq)
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		others = append(others, o)
	}
	for i, o := range others {
		if b, err := io.ReadAll(o); err != nil || uploads.DigestOf(b) != ids[1+i].SHA256 {
			t.Errorf("body %d: %v", 2+i, err)
		}
	}
}

// TestBodyMayBeClosedWhileRead: a client may do so when the answer came early.
func TestBodyMayBeClosedWhileRead(t *testing.T) {
	s := open(t, t.TempDir(), small())
	fill(t, s, 0, 2, 100<<10)
	for range 50 {
		b, err := s.Body(1)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() {
			_, err := io.Copy(io.Discard, struct{ io.Reader }{b})
			done <- err
		}()
		b.Close()
		next := read(t, s, 2)
		if err := <-done; err != nil && !errors.Is(err, fs.ErrClosed) {
			t.Fatal(err)
		}
		if string(next) != string(content(1, 100<<10)) {
			t.Fatal("another's bytes")
		}
	}
}

// TestMarksAreReadARecordAtATime: each record has the marks of many uploads, and
// every upload has one for each sink.
func TestMarksAreReadARecordAtATime(t *testing.T) {
	dir := t.TempDir()
	d, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	counted := &disktest.Counted{Disk: d}
	o := small()
	o.Disk = counted
	o.Sinks = []spool.SinkName{{Name: "a", Required: true}, {Name: "b", Required: true}}
	s := open(t, dir, o)
	const files = 120
	fill(t, s, 0, files, 1000)
	deliverAll(t, s, "a")
	deliverAll(t, s, "b")
	before := counted.Reads.Load()
	fill(t, s, files, 5, 100<<10) // so that another segment is in use
	s.WaitTidy()
	n, receipts := counted.Reads.Load()-before, s.Stats().Receipts
	if receipts < files/2 || n > int64(receipts)/4 {
		t.Errorf("%d reads to write %d receipts", n, receipts)
	}
}
