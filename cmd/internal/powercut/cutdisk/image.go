//go:build linux

// Package cutdisk is a disk in memory whose power can be cut.
//
// A [Disk] is served as a file by a FUSE file system (a [Shelf]), and a loop
// device on that file carries a real ext4 or xfs. Every write and every flush
// that reaches the disk is logged with a tick of a common [Clock]. From the log a
// [Cutter] makes what a power cut at any tick may leave: what was written until
// the last flush, and of the writes since then all, some, or some in part. Such
// an [Image] becomes another Disk, is mounted, and shows what survived.
package cutdisk

import "slices"

const (
	pageSize = 4096
	// sectorSize is what a disk writes whole or not at all.
	sectorSize = 512
)

// page is never changed once it is in an image, so that images can share it.
type page [pageSize]byte

// An Image is the contents of a disk. Pages never written are zeros and take no
// memory. It is not safe for concurrent use.
type Image struct {
	size  int64
	pages []*page
}

// NewImage returns an image of size bytes of zeros.
func NewImage(size int64) *Image {
	return &Image{size: size, pages: make([]*page, (size+pageSize-1)/pageSize)}
}

// Size is that of the disk.
func (m *Image) Size() int64 { return m.size }

// Clone returns a copy that shares every page until one of the two is written.
func (m *Image) Clone() *Image { return &Image{size: m.size, pages: slices.Clone(m.pages)} }

// ReadAt fills b from off on and returns how much of it lies within the image.
func (m *Image) ReadAt(b []byte, off int64) int {
	n := 0
	for n < len(b) && off < m.size {
		at := int(off % pageSize)
		step := int(min(int64(pageSize-at), int64(len(b)-n), m.size-off))
		if p := m.pages[off/pageSize]; p != nil {
			copy(b[n:n+step], p[at:])
		} else {
			clear(b[n : n+step])
		}
		n += step
		off += int64(step)
	}
	return n
}

// WriteAt stores b at off and returns how much of it lies within the image.
func (m *Image) WriteAt(b []byte, off int64) int {
	n := 0
	for n < len(b) && off < m.size {
		at := int(off % pageSize)
		step := int(min(int64(pageSize-at), int64(len(b)-n), m.size-off))
		fresh := new(page)
		if old := m.pages[off/pageSize]; old != nil && step < pageSize {
			*fresh = *old
		}
		copy(fresh[at:], b[n:n+step])
		m.pages[off/pageSize] = fresh
		n += step
		off += int64(step)
	}
	return n
}
