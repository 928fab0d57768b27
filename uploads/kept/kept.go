// Package kept keeps copies of the newest files that each device sent, after the
// spool has let go of them, for whoever wants to look into them.
//
//	<sha256>.body              the bytes
//	<sha256>.<receipt>.json    an [Entry] for each name they came under; it is
//	                           written last, so it vouches for the body
//
// A copy is made before the delivery of its file is recorded: a process that ends
// in between delivers, and copies, again. What is superseded, too old or too much
// leaves behind that, in [Store.Run]. Nothing depends on these copies: that one
// cannot be made holds up no delivery.
package kept

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/durablefile"
)

// Version is the sidecar's format. Newer ones are left alone.
const Version = 1

// An Entry is one kept file.
type Entry struct {
	Version   int            `json:"version"`
	ID        string         `json:"receipt"`
	Kind      string         `json:"kind"`
	Name      uploads.Name   `json:"name"`
	Device    uploads.Device `json:"device"`
	AgentID   string         `json:"agent,omitempty"`
	Digest    uploads.Digest `json:"sha256"`
	Size      int64          `json:"bytes"`
	Received  time.Time      `json:"received"`
	Modified  time.Time      `json:"modified,omitzero"`
	Beacon    string         `json:"beacon,omitempty"`
	Via       []string       `json:"via,omitempty"`
	Peer      string         `json:"peer,omitempty"`
	Recovered bool           `json:"recovered,omitempty"`
}

// Taken is when the file was made, by the time in its name if that can be, else
// when it was received. It is what the newest are told by, so that a file that was
// sent late does not drive out a newer one, nor one from a clock that is years
// ahead all that follow.
func (e Entry) Taken() time.Time { return taken(e.Name, e.Received) }

func taken(n uploads.Name, received time.Time) time.Time {
	at := n.Parts().At
	if at.IsZero() || at.After(received.Add(24*time.Hour)) { // which covers every time zone
		return received
	}
	return at
}

// Options bound what is kept. More lets people look further back; less leaves the
// disk to uploads.
type Options struct {
	// Newest is how many files of a device and kind stay; 0 or less for none. The
	// device is zero if it is unknown.
	Newest func(e Entry) int
	// MaxBytes bounds the disk that all take, sidecars and half-filled blocks
	// included; 0 means no bound. Files that a device has a newer one of leave first.
	MaxBytes int64
	// MaxAge is how long after it was received a file stays; 0 means for ever.
	MaxAge time.Duration
	// Room reports whether there is disk for copies; nil means always. Without it no
	// more are made, until there is.
	Room func() bool
	// Log defaults to discarding.
	Log *slog.Logger
}

// A Store is a directory of kept files. Its methods may be called by several
// goroutines; one process owns it.
type Store struct {
	o    Options
	log  *slog.Logger
	root *os.Root
	wake chan struct{}

	writing sync.Mutex // one Keep at a time

	mu     sync.Mutex
	files  map[string]*file       // by receipt
	bodies map[uploads.Digest]int // files that need each, those about to be written included
	lines  map[line][]*file       // of known entries, the newest first
	dirty  map[line]struct{}
	added  []string  // receipts that nobody was told of
	lost   []string  // that left, and nobody was told
	aged   time.Time // when age was looked at
	stats  Stats
}

// A line is what files supersede each other in.
type line struct {
	kind   string
	device uploads.Device
}

// A file is what is known of an entry without its sidecar.
type file struct {
	id       string
	digest   uploads.Digest
	line     line // zero until the sidecar was read
	size     int64
	taken    time.Time
	received time.Time
	newest   int
}

// Stats are a store's numbers.
type Stats struct {
	Files   int
	Bytes   int64 // of disk
	Unknown int   // files in the directory that are not ours
	// Counters since Open.
	Copied, Skipped, Failed, Damaged uint64
	Superseded, Aged, Squeezed       uint64 // left
}

const (
	bodySuffix    = ".body"
	sidecarSuffix = ".json"
	// block is what a small file takes of the disk.
	block = 4 << 10
)

// Open opens the store in dir, which it makes if need be, and finishes what was
// interrupted. It reads the names there; [Store.Run] reads what is in the sidecars.
func Open(dir string, o Options) (*Store, error) {
	if err := durablefile.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make kept: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open kept: %w", err)
	}
	s := &Store{
		o: o, log: o.Log, root: root, wake: make(chan struct{}, 1),
		files: map[string]*file{}, bodies: map[uploads.Digest]int{}, lines: map[line][]*file{}, dirty: map[line]struct{}{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.o.Newest == nil {
		s.o.Newest = func(Entry) int { return 1 }
	}
	if err := s.recover(); err != nil {
		root.Close()
		return nil, fmt.Errorf("open kept: %w", err)
	}
	return s, nil
}

// Close releases the directory. Run must have returned.
func (s *Store) Close() error { return s.root.Close() }

// Stats returns the numbers of this instant.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Files = len(s.files)
	return st
}

// Has reports whether the file with a receipt is here.
func (s *Store) Has(receipt string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[receipt] != nil
}

// onDisk is what a file of that size takes, with its sidecar.
func onDisk(size int64) int64 { return (size+block-1)/block*block + block }

// enter takes a file into the index. s.mu is held.
func (s *Store) enter(f *file) {
	s.files[f.id] = f
	if f.line.kind == "" {
		return
	}
	at, _ := slices.BinarySearchFunc(s.lines[f.line], f, newer)
	s.lines[f.line] = slices.Insert(s.lines[f.line], at, f)
	s.dirty[f.line] = struct{}{}
}

// newer orders the newest first.
func newer(a, b *file) int {
	if c := b.taken.Compare(a.taken); c != 0 {
		return c
	}
	return b.received.Compare(a.received)
}

// leave takes a file out of the index. s.mu is held.
func (s *Store) leave(f *file) {
	delete(s.files, f.id)
	if f.line.kind == "" {
		return
	}
	rest := slices.DeleteFunc(s.lines[f.line], func(o *file) bool { return o == f })
	if s.lines[f.line] = rest; len(rest) == 0 {
		delete(s.lines, f.line)
	}
}

func (f *file) describe(e Entry, newest int) {
	f.line = line{e.Kind, e.Device.Key()}
	f.size, f.taken, f.received, f.newest = e.Size, e.Taken(), e.Received, newest
}

func (s *Store) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
