//go:build linux

package cutdisk

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// A Shelf is a file system in which every disk is one file.
type Shelf struct {
	dir    string
	root   *fs.Inode
	server *fuse.Server
}

// OpenShelf mounts a shelf at dir, which is made.
func OpenShelf(dir string) (*Shelf, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	long := time.Hour
	root := &fs.Inode{}
	server, err := fs.Mount(dir, root, &fs.Options{
		EntryTimeout: &long, AttrTimeout: &long,
		MountOptions: fuse.MountOptions{DirectMountStrict: true, MaxWrite: 1 << 20, FsName: "cutdisk", DisableXAttrs: true},
	})
	if err != nil {
		return nil, fmt.Errorf("mount the file system of disks: %w", err)
	}
	return &Shelf{dir: dir, root: root, server: server}, nil
}

// Close unmounts the shelf; no disk of it may be in use.
func (s *Shelf) Close() error { return s.server.Unmount() }

// Put puts a disk on the shelf and returns its file.
func (s *Shelf) Put(name string, d *Disk) string {
	node := s.root.NewPersistentInode(context.Background(), &file{disk: d}, fs.StableAttr{Mode: syscall.S_IFREG})
	s.root.AddChild(name, node, true)
	return filepath.Join(s.dir, name)
}

// Take takes a disk off the shelf.
func (s *Shelf) Take(name string) {
	s.root.RmChild(name)
	s.root.NotifyEntry(name)
}

// file is a disk as the kernel sees it.
type file struct {
	fs.Inode
	disk *Disk
}

var (
	_ fs.NodeGetattrer = (*file)(nil)
	_ fs.NodeOpener    = (*file)(nil)
	_ fs.NodeReader    = (*file)(nil)
	_ fs.NodeWriter    = (*file)(nil)
	_ fs.NodeFsyncer   = (*file)(nil)
)

func (f *file) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = 0o600, uint64(f.disk.size())
	out.Blocks = out.Size / sectorSize
	return 0
}

func (f *file) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

func (f *file) Read(_ context.Context, _ fs.FileHandle, b []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return fuse.ReadResultData(b[:f.disk.read(b, off)]), 0
}

func (f *file) Write(_ context.Context, _ fs.FileHandle, b []byte, off int64) (uint32, syscall.Errno) {
	return uint32(f.disk.write(b, off)), 0
}

func (f *file) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	f.disk.flush()
	return 0
}
