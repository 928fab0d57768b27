// Package disktest has disks for tests: one in memory that can lose its power,
// and one that records what has been synced.
package disktest

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
	"time"

	"inventorybeacon/uploads/spool/disk"
)

// An Op is an operation that a [Fault] may spoil.
type Op string

// The operations of a disk.
const (
	OpOpen    Op = "open"
	OpCreate  Op = "create"
	OpRename  Op = "rename"
	OpRemove  Op = "remove"
	OpSyncDir Op = "syncdir"
	OpRead    Op = "read"
	OpWrite   Op = "write"
	OpSync    Op = "sync"
)

// A Fault is asked before each operation; its error is the operation's. A write
// that fails has written half of its bytes.
type Fault func(op Op, name string) error

// A Memory is a disk in memory that tells what is durable from what is merely
// written.
type Memory struct {
	mu    sync.Mutex
	names map[string]*inode // as programs see them
	kept  map[string]*inode // as a power cut leaves them
	dirs  map[string]bool
	fault Fault
	dead  bool
	read  int64
	full  bool // there is no room but room, and what removed files leave
	room  int64
}

type inode struct {
	data    []byte // as programs see it
	kept    []byte // synced
	pending []write
}

type write struct {
	off  int64
	data []byte
}

const sector = 512

var _ disk.Disk = (*Memory)(nil)

// NewMemory returns an empty disk.
func NewMemory() *Memory {
	return &Memory{names: map[string]*inode{}, kept: map[string]*inode{}, dirs: map[string]bool{".": true}}
}

// SetFault makes operations fail; nil heals the disk.
func (m *Memory) SetFault(f Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
}

// Kill ends the program: every later operation of its disk fails. The disk
// returned is the one the next program finds: what was written is there, and
// what was not synced still is not.
func (m *Memory) Kill() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	n := NewMemory()
	n.dirs = maps.Clone(m.dirs)
	copies := map[*inode]*inode{}
	clone := func(i *inode) *inode {
		if copies[i] == nil {
			copies[i] = &inode{slices.Clone(i.data), slices.Clone(i.kept), slices.Clone(i.pending)}
		}
		return copies[i]
	}
	for name, i := range m.names {
		n.names[name] = clone(i)
	}
	for name, i := range m.kept {
		n.kept[name] = clone(i)
	}
	return n
}

// Cut ends the program by a power cut and returns the disk the next one finds:
// of the writes and names that were not synced, any part, sector by sector, may
// be there.
func (m *Memory) Cut(r *rand.Rand) *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	n := NewMemory()
	n.dirs = maps.Clone(m.dirs)
	survivors := map[*inode]*inode{}
	survive := func(i *inode) *inode {
		if survivors[i] == nil {
			b := i.survive(r)
			survivors[i] = &inode{data: b, kept: slices.Clone(b)}
		}
		return survivors[i]
	}
	all := slices.Sorted(maps.Keys(m.names))
	for name := range m.kept {
		if _, ok := m.names[name]; !ok {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	for _, name := range all {
		now, kept := m.names[name], m.kept[name]
		i := kept
		if now != kept && r.IntN(2) == 0 {
			i = now
		}
		if i != nil {
			n.names[name] = survive(i)
			n.kept[name] = n.names[name]
		}
	}
	return n
}

func (i *inode) survive(r *rand.Rand) []byte {
	b := slices.Clone(i.kept)
	for _, w := range i.pending {
		switch r.IntN(3) {
		case 0: // nothing of it
		case 1:
			b = apply(b, w)
		case 2:
			for at := 0; at < len(w.data); at += sector {
				if r.IntN(2) == 0 {
					b = apply(b, write{w.off + int64(at), w.data[at:min(at+sector, len(w.data))]})
				}
			}
		}
	}
	return b
}

func apply(b []byte, w write) []byte {
	if end := int(w.off) + len(w.data); end > len(b) {
		b = append(b, make([]byte, end-len(b))...)
	}
	copy(b[w.off:], w.data)
	return b
}

// Garble overwrites bytes of a file behind everybody's back.
func (m *Memory) Garble(name string, off int64, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.names[name]
	i.data = apply(i.data, write{off, b})
	i.kept = apply(i.kept, write{off, b})
}

// Names lists the files.
func (m *Memory) Names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.names))
}

// Contents returns a file's bytes as a program sees them.
func (m *Memory) Contents(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := m.names[name]; i != nil {
		return slices.Clone(i.data)
	}
	return nil
}

// Put makes a file with the given contents, durably.
func (m *Memory) Put(name string, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := &inode{data: slices.Clone(b), kept: slices.Clone(b)}
	m.names[name], m.kept[name] = i, i
	m.dirs[path.Dir(name)] = true
}

// Find says whether there is a file of that name.
func (m *Memory) Find(name string) (size int, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, ok := m.names[name]
	if !ok {
		return 0, false
	}
	return len(i.data), true
}

// BytesRead is how much was read of it so far.
func (m *Memory) BytesRead() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.read
}

// Delete removes a file, durably, if there is one.
func (m *Memory) Delete(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.names, name)
	delete(m.kept, name)
}

func (m *Memory) check(op Op, name string) error {
	if m.dead {
		return fmt.Errorf("%s %s: the program is dead", op, name)
	}
	if m.fault == nil {
		return nil
	}
	if err := m.fault(op, name); err != nil {
		return fmt.Errorf("%s %s: %w", op, name, err)
	}
	return nil
}

// Open implements [disk.Disk].
func (m *Memory) Open(name string) (disk.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(OpOpen, name); err != nil {
		return nil, err
	}
	i := m.names[name]
	if i == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &memoryFile{m, i, name}, nil
}

// Create implements [disk.Disk].
func (m *Memory) Create(name string) (disk.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(OpCreate, name); err != nil {
		return nil, err
	}
	if m.names[name] != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	i := &inode{}
	m.names[name] = i
	return &memoryFile{m, i, name}, nil
}

// Rename implements [disk.Disk].
func (m *Memory) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(OpRename, from); err != nil {
		return err
	}
	i := m.names[from]
	if i == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	delete(m.names, from)
	m.names[to] = i
	return nil
}

// Remove implements [disk.Disk].
func (m *Memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(OpRemove, name); err != nil {
		return err
	}
	if m.names[name] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	delete(m.names, name)
	return nil
}

// Mkdir implements [disk.Disk]. Directories are durable at once.
func (m *Memory) Mkdir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dirs[name] = true
	return nil
}

// ReadDir implements [disk.Disk].
func (m *Memory) ReadDir(name string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dirs[name] {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	var out []fs.DirEntry
	for _, n := range slices.Sorted(maps.Keys(m.names)) {
		if path.Dir(n) == name {
			out = append(out, memoryEntry(path.Base(n)))
		}
	}
	return out, nil
}

// SyncDir implements [disk.Disk].
func (m *Memory) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(OpSyncDir, name); err != nil {
		return err
	}
	maps.DeleteFunc(m.kept, func(n string, _ *inode) bool { return path.Dir(n) == name })
	for n, i := range m.names {
		if path.Dir(n) == name {
			m.kept[n] = i
		}
	}
	return nil
}

// Fill has others take all the room there is, until Relieve.
func (m *Memory) Fill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.full, m.room = true, m.used()
}

// Relieve ends that.
func (m *Memory) Relieve() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.full = false
}

func (m *Memory) used() (n int64) {
	for _, i := range m.names {
		n += int64(len(i.data))
	}
	return n
}

// Free implements [disk.Disk].
func (m *Memory) Free() (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return max(0, m.room-m.used()), nil
	}
	return 1 << 30, nil
}

// Close implements [disk.Disk].
func (m *Memory) Close() error { return nil }

type memoryFile struct {
	m    *Memory
	i    *inode
	name string
}

func (f *memoryFile) ReadAt(b []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.check(OpRead, f.name); err != nil {
		return 0, err
	}
	if off >= int64(len(f.i.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.i.data[off:])
	f.m.read += int64(n)
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memoryFile) WriteAt(b []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	err := f.m.check(OpWrite, f.name)
	if f.m.dead {
		return 0, err
	}
	if err != nil {
		b = b[:len(b)/2]
	}
	if grown := off + int64(len(b)) - int64(len(f.i.data)); f.m.full && grown > 0 && grown > f.m.room-f.m.used() {
		return 0, &fs.PathError{Op: "write", Path: f.name, Err: disk.ErrFull}
	}
	w := write{off, slices.Clone(b)}
	f.i.data = apply(f.i.data, w)
	f.i.pending = append(f.i.pending, w)
	return len(b), err
}

func (f *memoryFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.check(OpWrite, f.name); err != nil {
		return err
	}
	resize := func(b []byte) []byte {
		if size <= int64(len(b)) {
			return b[:size:size]
		}
		return append(b, make([]byte, size-int64(len(b)))...)
	}
	f.i.data = resize(f.i.data)
	f.i.pending = slices.DeleteFunc(f.i.pending, func(w write) bool { return w.off+int64(len(w.data)) > size })
	f.i.kept = resize(f.i.kept)
	return nil
}

// Sync makes writes durable. When it fails the writes it should have kept are
// never kept by a later one either: the kernel believes that it is done with
// them.
func (f *memoryFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	err := f.m.check(OpSync, f.name)
	if f.m.dead {
		return err
	}
	if err == nil {
		for _, w := range f.i.pending {
			f.i.kept = apply(f.i.kept, w)
		}
	}
	f.i.pending = nil
	return err
}

func (f *memoryFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(f.i.data)), nil
}

func (f *memoryFile) Close() error { return nil }

type memoryEntry string

func (e memoryEntry) Name() string               { return string(e) }
func (e memoryEntry) IsDir() bool                { return false }
func (e memoryEntry) Type() fs.FileMode          { return 0 }
func (e memoryEntry) Info() (fs.FileInfo, error) { return memoryInfo(e), nil }

type memoryInfo string

func (e memoryInfo) Name() string       { return string(e) }
func (e memoryInfo) Size() int64        { return 0 }
func (e memoryInfo) Mode() fs.FileMode  { return 0 }
func (e memoryInfo) ModTime() time.Time { return time.Time{} }
func (e memoryInfo) IsDir() bool        { return false }
func (e memoryInfo) Sys() any           { return nil }
