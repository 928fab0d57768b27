package spool_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/disk"
	"inventorybeacon/uploads/spool/disk/disktest"
)

// A slow disk takes its time to sync, so that many uploads share a group.
type slow struct{ *disktest.Memory }

func (d slow) Create(name string) (disk.File, error) { return slowed(d.Memory.Create(name)) }
func (d slow) Open(name string) (disk.File, error)   { return slowed(d.Memory.Open(name)) }

type slowFile struct{ disk.File }

func slowed(f disk.File, err error) (disk.File, error) {
	if err != nil {
		return nil, err
	}
	return slowFile{f}, nil
}

func (f slowFile) Sync() error {
	time.Sleep(2 * time.Millisecond)
	return f.File.Sync()
}

// The copies of a tail may fill the segment in which the cut that replaces
// their originals was to be recorded: it goes into the next.
func TestCutFindsRoomBehindCopiesOfTail(t *testing.T) {
	for size := 3000; size < 7000; size += 500 {
		m := disktest.NewMemory()
		o := small()
		o.SegmentBytes = 64 << 10
		ids := together(t, m, o, size)
		for range 2 { // also behind the copies of copies
			m = m.Kill()
			o.Disk = m
			expect(t, open(t, t.TempDir(), o), ids)
		}
	}
}

// together accepts uploads side by side on a disk that is slow to sync.
func together(t *testing.T, m *disktest.Memory, o spool.Options, size int) (ids []uploads.Receipt) {
	o.Disk = slow{m}
	s := open(t, t.TempDir(), o)
	var at sync.WaitGroup
	var mu sync.Mutex
	for i := range 24 {
		at.Go(func() {
			r := accept(t, s, fmt.Sprintf("f%d.ndi", i), content(i, size))
			mu.Lock()
			defer mu.Unlock()
			ids = append(ids, r)
		})
	}
	at.Wait()
	return ids
}
