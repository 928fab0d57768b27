// Package receipts keeps what is known of uploads whose bodies are gone: one
// append-only file, and in memory where in it to look.
//
// The file is, with all numbers little-endian, a header of 16 bytes (magic,
// version) and entries that start on multiples of 16:
//
//	 0  magic
//	 4  length of the whole entry
//	 8  CRC-32C of everything behind this field
//	12  flags; from bit 8 on, how many units of 16 bytes back everything was
//	    durable when this was written
//	16  the first 16 bytes of SHA-256(kind, newline, lower-cased name)
//	32  SHA-256 of the body
//	64  highest event number in it
//	72  where the name's previous entry is, in units of 16 bytes; 0 if nowhere
//	76  length of the upload's metadata
//	80  the upload's metadata, then the list of its marks (see package journal)
//
// In memory an entry takes two slots of 8 bytes in tables that are 43 to 85 %
// full: about 25 bytes.
package receipts

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/maphash"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/disk"
	"inventorybeacon/uploads/spool/journal"
)

// A NameID stands for a kind and a name in any case.
type NameID [16]byte

// NameIDOf returns the identity of a name.
func NameIDOf(kind string, name uploads.Name) NameID {
	sum := sha256.Sum256([]byte(kind + "\n" + name.Key()))
	return NameID(sum[:16])
}

// A FileID stands for certain bytes under a name.
type FileID struct {
	Name   NameID
	Digest uploads.Digest
}

// An Entry is all that is known of an upload that left.
type Entry struct {
	Upload journal.Upload
	Marks  []*journal.Mark
}

// Lost says whether the upload left without being delivered.
func (e *Entry) Lost() bool {
	for _, m := range e.Marks {
		if m.Lost() {
			return true
		}
	}
	return false
}

func (e *Entry) last() uint64 {
	last := e.Upload.Seq
	for _, m := range e.Marks {
		last = max(last, m.Event)
	}
	return last
}

// A Log is the receipts file. Its methods may be called by several goroutines.
type Log struct {
	adding  sync.Mutex   // held by whoever appends
	mu      sync.RWMutex // not held while a sync runs: look-ups do not wait for it
	disk    disk.Disk
	name    string
	file    disk.File
	end     int64  // of what is durable
	cut     bool   // bytes behind end must go before anything is appended
	torn    []span // and these become zeros, so that they are never taken for damage
	count   int
	damaged int
	last    uint64
	seed    maphash.Seed
	exact   table // of files
	names   table // of names: the newest entry of each
}

// Options say how receipts are kept.
type Options struct {
	// Log defaults to discarding.
	Log *slog.Logger
}

// IsOurs says whether a file in the receipts' directory is theirs.
func IsOurs(base string) bool { return base == fileName }

const fileName = "receipts.log"

// Prune forgets uploads to which nothing has happened since before: they were
// received, left, and were last heard of earlier. It may keep some of them for
// longer.
func (l *Log) Prune(before time.Time) error { return nil }

// Open reads the receipts in the directory dir, which need not exist before the
// first Append. It changes nothing. What a newer version wrote gives
// [journal.ErrNewer].
func Open(d disk.Disk, dir string, o Options) (*Log, error) {
	name := dir + "/" + fileName
	l := &Log{disk: d, name: name, seed: maphash.MakeSeed(), end: headerBytes}
	f, err := d.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open receipts: %w", err)
	}
	l.file = f
	if err := l.load(); err != nil {
		f.Close()
		return nil, fmt.Errorf("read receipts %s: %w", name, err)
	}
	return l, nil
}

// Len is the number of receipts.
func (l *Log) Len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.count
}

// Damaged is how many stretches of the file are unreadable.
func (l *Log) Damaged() int { return l.damaged }

// Last is the highest event number in it.
func (l *Log) Last() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.last
}

// maxVersions is how many of the last entries of a name Find looks at. They
// are added when segments are freed, which is nearly but not quite in the order
// of acceptance. More would let a name with very many versions cost time.
const maxVersions = 64

// Find returns the newest upload of a name that was not lost.
func (l *Log) Find(id NameID) (newest *Entry, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	at, err := l.newest(id)
	for range maxVersions {
		if at == 0 || err != nil {
			break
		}
		var raw entry
		if raw, err = l.read(at); err != nil {
			break
		}
		at = raw.previous()
		if raw.flags()&flagLost != 0 {
			continue
		}
		e, derr := raw.decode()
		if derr != nil {
			return nil, derr
		}
		if newest == nil || e.Upload.Seq > newest.Upload.Seq {
			newest = e
		}
	}
	return newest, err
}

// FindExact returns the newest upload of certain bytes under a name, lost or
// not, or nil.
func (l *Log) FindExact(id FileID) (*Entry, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	at, raw, err := l.exactly(id)
	if at == 0 || err != nil {
		return nil, err
	}
	return raw.decode()
}

// Append adds entries; they are durable on return. After an error none of them
// counts and Append may be tried again.
func (l *Log) Append(entries []*Entry) error {
	if len(entries) == 0 {
		return nil
	}
	l.adding.Lock()
	defer l.adding.Unlock()
	l.mu.Lock()
	err := l.prepare()
	l.mu.Unlock()
	if err != nil {
		return fmt.Errorf("prepare receipts: %w", err)
	}
	b, places, err := l.encode(entries)
	if err != nil {
		return err
	}
	if _, err := l.file.WriteAt(b, l.end); err != nil {
		l.cut = true
		return fmt.Errorf("write receipts: %w", err)
	}
	if err := l.file.Sync(); err != nil {
		// What the pages hold is no longer what the disk holds: none of them may be
		// used again.
		l.cut = true
		return fmt.Errorf("sync receipts: %w", err)
	}
	for part := range slices.Chunk(places, addAtOnce) {
		l.mu.Lock()
		for _, p := range part {
			l.add(p.raw, p.at)
		}
		l.mu.Unlock()
	}
	l.mu.Lock()
	l.end += int64(len(b))
	l.mu.Unlock()
	return nil
}

// addAtOnce is how many entries are entered before look-ups get their turn.
const addAtOnce = 512

// At returns the entry at a place that All gave.
func (l *Log) At(at uint32) (*Entry, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	raw, err := l.read(at)
	if err != nil {
		return nil, err
	}
	return raw.decode()
}

// All yields the entries, with their places, in the order of being added.
func (l *Log) All() iter.Seq2[uint32, *Entry] {
	return func(yield func(uint32, *Entry) bool) {
		l.mu.RLock()
		f, end := l.file, l.end
		l.mu.RUnlock()
		if f == nil {
			return
		}
		r := newReader(io.NewSectionReader(f, 0, end), end)
		for {
			raw, at, ok := r.next()
			if !ok {
				return
			}
			e, err := raw.decode()
			if err != nil {
				continue // sound bytes that say nothing: not written by this program
			}
			if !yield(uint32(at/unit), e) {
				return
			}
		}
	}
}

// Close closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	f := l.file
	l.file = nil
	return f.Close()
}

// A place is an encoded entry and where it goes.
type place struct {
	raw entry
	at  uint32
}

// maxBytes is how far a slot of the tables can point.
const maxBytes = int64(1<<32-1) * unit

func (l *Log) encode(entries []*Entry) (b []byte, places []place, err error) {
	newest := map[NameID]uint32{}
	for _, e := range entries {
		at := l.end + int64(len(b))
		id := NameIDOf(e.Upload.Kind, e.Upload.Name)
		prev, known := newest[id]
		if !known {
			if prev, err = l.newest(id); err != nil {
				return nil, nil, err
			}
		}
		start := len(b)
		if b = appendEntry(b, e, id, prev, len(b)/unit); int64(len(b))+l.end > maxBytes {
			return nil, nil, fmt.Errorf("receipts file is full")
		}
		newest[id] = uint32(at / unit)
		places = append(places, place{entry(b[start:]), uint32(at / unit)})
	}
	for i := range places { // appending may have moved b
		start := int64(places[i].at)*unit - l.end
		places[i].raw = entry(b[start:][:len(places[i].raw)])
	}
	return b, places, nil
}

// add enters an entry into the tables.
func (l *Log) add(raw entry, at uint32) {
	l.count++
	l.last = max(l.last, raw.last())
	if raw.nameless() { // a damaged range: nothing is known to look it up by
		return
	}
	switch old, known, err := l.exactly(raw.file()); {
	case err != nil || old == 0:
		l.exact.put(l.hash(raw.file()), at)
	case raw.last() >= known.last(): // else it was lost, and sent again before this was added
		l.exact.replace(l.hash(raw.file()), old, at)
	}
	if prev := raw.previous(); prev != 0 && l.names.replace(l.hashName(raw.name()), prev, at) {
		return
	}
	l.names.put(l.hashName(raw.name()), at)
}

func (l *Log) hash(id FileID) uint32     { return uint32(maphash.Comparable(l.seed, id)) }
func (l *Log) hashName(id NameID) uint32 { return uint32(maphash.Comparable(l.seed, id)) }

// newest returns where the newest entry of a name is, or 0.
func (l *Log) newest(id NameID) (uint32, error) {
	newest := uint32(0)
	for at := range l.names.get(l.hashName(id)) {
		raw, err := l.read(at)
		if err != nil {
			return 0, err
		}
		if raw.name() == id {
			newest = max(newest, at)
		}
	}
	return newest, nil
}

func (l *Log) exactly(id FileID) (uint32, entry, error) {
	for at := range l.exact.get(l.hash(id)) {
		raw, err := l.read(at)
		if err != nil {
			return 0, nil, err
		}
		if raw.file() == id {
			return at, raw, nil
		}
	}
	return 0, nil, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
