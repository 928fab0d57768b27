package disktest

import (
	"sync/atomic"

	"inventorybeacon/uploads/spool/disk"
)

// A Counted disk counts the reads of the files that it opens.
type Counted struct {
	disk.Disk
	Reads atomic.Int64
}

// Open implements [disk.Disk].
func (d *Counted) Open(name string) (disk.File, error) {
	f, err := d.Disk.Open(name)
	return &countedFile{f, d}, err
}

type countedFile struct {
	disk.File
	d *Counted
}

func (f *countedFile) ReadAt(b []byte, off int64) (int, error) {
	f.d.Reads.Add(1)
	return f.File.ReadAt(b, off)
}
