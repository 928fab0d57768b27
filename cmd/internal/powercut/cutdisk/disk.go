//go:build linux

package cutdisk

import (
	"slices"
	"sync"
	"sync/atomic"
)

// A Clock orders what happens on several disks and beside them.
type Clock struct{ ticks atomic.Uint64 }

// Tick returns a number greater than all before.
func (c *Clock) Tick() uint64 { return c.ticks.Add(1) }

// An Op is a write, or a flush if Data is nil: a flush makes every write before
// it durable.
type Op struct {
	Tick uint64
	Off  int64
	Data []byte
}

// A Disk is an image that is in use. Its methods may be called by several
// goroutines at once.
type Disk struct {
	mu    sync.Mutex
	image *Image
	clock *Clock // nil: nothing is logged
	base  *Image
	ops   []Op
	bytes int64
}

// NewDisk returns a disk with the contents of m, which is the disk's from then on.
func NewDisk(m *Image) *Disk { return &Disk{image: m} }

// Record starts the log.
func (d *Disk) Record(c *Clock) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clock, d.base, d.ops, d.bytes = c, d.image.Clone(), nil, 0
}

// Stop ends the log and returns what the disk held at its beginning, and what
// came to it since.
func (d *Disk) Stop() (base *Image, ops []Op) {
	d.mu.Lock()
	defer d.mu.Unlock()
	base, ops = d.base, d.ops
	d.clock, d.base, d.ops = nil, nil, nil
	return base, ops
}

// Logged is how many bytes of writes the log holds.
func (d *Disk) Logged() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bytes
}

// Image returns the contents as they are now.
func (d *Disk) Image() *Image {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.image.Clone()
}

func (d *Disk) size() int64 { return d.image.size }

func (d *Disk) read(b []byte, off int64) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.image.ReadAt(b, off)
}

func (d *Disk) write(b []byte, off int64) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.image.WriteAt(b, off)
	if d.clock != nil && n > 0 {
		d.ops = append(d.ops, Op{Tick: d.clock.Tick(), Off: off, Data: slices.Clone(b[:n])})
		d.bytes += int64(n)
	}
	return n
}

func (d *Disk) flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.clock != nil {
		d.ops = append(d.ops, Op{Tick: d.clock.Tick()})
	}
}
