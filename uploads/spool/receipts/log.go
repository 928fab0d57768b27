package receipts

import (
	"fmt"
	"hash/maphash"
	"sync"

	"inventorybeacon/uploads/spool/disk"
)

// A log is an append-only file of entries, with two tables in memory that tell
// where in it to look: about 25 bytes for each.
type log struct {
	source
	number uint64

	// What follows is changed by one goroutine at a time, which may read it without
	// the lock; no lock is held while the disk works.
	mu      sync.RWMutex
	version uint32
	sound   bool      // the header
	end     int64     // of what is durable
	cut     bool      // bytes behind end must go before anything is appended
	torn    []stretch // and these become zeros, so that they are never taken for damage
	count   int
	damaged int
	first   uint64 // lowest and highest event number
	last    uint64
	newest  uint64 // highest number of an upload
	ages    ages
	losses  []loss
	seed    maphash.Seed
	exact   table // of files
	names   table // of names: the newest entry of each
}

func newLog(d disk.Disk, name string) *log {
	return &log{
		source: source{disk: d, name: name}, version: logVersion,
		end: logHeader, ages: ages{}, seed: maphash.MakeSeed(),
	}
}

// maxVersions is how many of the last entries of a name find looks at. They
// are added when segments are freed, which is nearly but not quite in the order
// of acceptance. More would let a name with very many versions cost time.
const maxVersions = 64

// find returns the newest upload of a name that was not lost.
func (l *log) find(id NameID) (newest *Entry, err error) {
	at, err := l.newestOf(id)
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

// findExact returns the newest upload of a file, lost or not.
func (l *log) findExact(id FileID) (*Entry, error) {
	at, raw, err := l.exactly(id)
	if at == 0 || err != nil {
		return nil, err
	}
	return raw.decode()
}

// append adds entries; they are durable on return. After an error none of them
// counts and it may be tried again. last is the highest number ever seen.
func (l *log) append(entries []*Entry, last uint64) error {
	if err := l.prepare(last); err != nil {
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
	for i, at := range places {
		l.add(entry(b[int64(at)*unit-l.end:]).whole(), at, entries[i])
	}
	l.mu.Lock()
	l.end += int64(len(b))
	l.mu.Unlock()
	return nil
}

// maxLog is how far a slot of the tables can point.
const maxLog = int64(1<<32-1) * unit

func (l *log) encode(entries []*Entry) (b []byte, places []uint32, err error) {
	newest := map[NameID]uint32{}
	for _, e := range entries {
		at := l.end + int64(len(b))
		id := NameIDOf(e.Upload.Kind, e.Upload.Name)
		prev, known := newest[id]
		if !known {
			if prev, err = l.newestOf(id); err != nil {
				return nil, nil, err
			}
		}
		if b = appendEntry(b, e, id, prev, len(b)/unit); int64(len(b))+l.end > maxLog {
			return nil, nil, fmt.Errorf("receipts log is full")
		}
		newest[id] = uint32(at / unit)
		places = append(places, uint32(at/unit))
	}
	return b, places, nil
}

// add enters an entry, whose bytes are in the file.
func (l *log) add(raw entry, at uint32, e *Entry) {
	old, replaces := l.replaced(raw, e)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count == 0 || e.Upload.Seq < l.first {
		l.first = e.Upload.Seq
	}
	l.count++
	l.last, l.newest = max(l.last, e.last()), max(l.newest, e.Upload.Seq)
	l.ages.add(e.latest().UnixMilli())
	l.losses = appendEntryLosses(l.losses, e, at)
	if raw.nameless() { // a damaged range: nothing is known to look it up by
		return
	}
	switch {
	case old == 0:
		l.exact.put(l.hash(raw.file()), at)
	case replaces:
		l.exact.replace(l.hash(raw.file()), old, at)
	}
	if prev := raw.previous(); prev != 0 && l.names.replace(l.hashName(raw.name()), prev, at) {
		return
	}
	l.names.put(l.hashName(raw.name()), at)
}

// replaced returns where the newest entry of the same file is, or 0, and whether
// e takes its place. It does not if it was lost, and sent again before it was
// added.
func (l *log) replaced(raw entry, e *Entry) (old uint32, replaces bool) {
	old, known, err := l.exactly(raw.file())
	if err != nil || old == 0 {
		return 0, false
	}
	k, err := known.decode()
	return old, err != nil || e.Upload.Seq >= k.Upload.Seq
}

func (l *log) hash(id FileID) uint32     { return uint32(maphash.Comparable(l.seed, id)) }
func (l *log) hashName(id NameID) uint32 { return uint32(maphash.Comparable(l.seed, id)) }

// newestOf returns where the newest entry of a name is, or 0.
func (l *log) newestOf(id NameID) (newest uint32, err error) {
	for _, at := range l.places(&l.names, l.hashName(id)) {
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

func (l *log) exactly(id FileID) (uint32, entry, error) {
	for _, at := range l.places(&l.exact, l.hash(id)) {
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

func (l *log) places(t *table, hash uint32) (out []uint32) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for at := range t.get(hash) {
		out = append(out, at)
	}
	return out
}

// length is the number of entries.
func (l *log) length() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.count
}

// highest is the highest event number in it or before it.
func (l *log) highest() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.last
}

// numbers are the lowest and the highest event number of its entries.
func (l *log) numbers() (first, last uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.first, l.last
}

// newestUpload is the highest number of an upload in it.
func (l *log) newestUpload() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.newest
}

func (l *log) lossesAfter(after uint64) (out []loss) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, one := range l.losses {
		if one.event > after {
			out = append(out, one)
		}
	}
	return out
}

// at reads the entry at a place.
func (l *log) at(place uint32) (*Entry, error) {
	raw, err := l.read(place)
	if err != nil {
		return nil, err
	}
	return raw.decode()
}
