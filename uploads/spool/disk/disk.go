// Package disk is the little of a file system that the spool needs.
//
// It is an interface so that a test can record the order of writes and syncs,
// make them fail, and rebuild what a power cut at any instant would leave.
package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"inventorybeacon/uploads/durablefile"
	"inventorybeacon/uploads/spool/sabotage"
)

// A Disk is a directory tree. Names are slash-separated and relative to it.
type Disk interface {
	// Open opens an existing file for reading and writing.
	Open(name string) (File, error)
	// Create makes a new file and refuses a name that is taken.
	Create(name string) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	// Mkdir makes a directory unless there is one.
	Mkdir(name string) error
	ReadDir(name string) ([]fs.DirEntry, error)
	// SyncDir makes names created, renamed or removed in a directory durable.
	SyncDir(name string) error
	// Free returns the bytes that may still be written.
	Free() (int64, error)
	Close() error
}

// A File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes what has been written durable, the size included. After it has
	// failed the file's contents since the last success are unknown, and another
	// Sync that succeeds proves nothing.
	Sync() error
	Truncate(size int64) error
	Size() (int64, error)
}

// Open returns the directory dir of the operating system's file system, which
// is made, durably, if it is absent.
func Open(dir string) (Disk, error) {
	if err := durablefile.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &rooted{root: root, dir: dir}, nil
}

type rooted struct {
	root *os.Root
	dir  string
}

func (d *rooted) Open(name string) (File, error) {
	return file(d.root.OpenFile(name, os.O_RDWR, 0))
}

func (d *rooted) Create(name string) (File, error) {
	return file(d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600))
}

func file(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d *rooted) Rename(from, to string) error { return d.root.Rename(from, to) }
func (d *rooted) Remove(name string) error     { return d.root.Remove(name) }
func (d *rooted) Close() error                 { return d.root.Close() }
func (d *rooted) Free() (int64, error)         { return free(d.dir) }

func (d *rooted) Mkdir(name string) error {
	err := d.root.Mkdir(name, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func (d *rooted) ReadDir(name string) ([]fs.DirEntry, error) {
	return fs.ReadDir(d.root.FS(), name)
}

func (d *rooted) SyncDir(name string) error {
	if sabotage.NoDirectorySync {
		return nil
	}
	return durablefile.SyncDir(d.root, name)
}

type osFile struct{ *os.File }

func (f osFile) Sync() error { return datasync(f.File) }

func (f osFile) Size() (int64, error) {
	i, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return i.Size(), nil
}
