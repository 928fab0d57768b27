package receipts

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"inventorybeacon/uploads/spool/disk"
	"inventorybeacon/uploads/spool/journal"
)

const (
	logMagic   = "IBrcpts\n"
	logVersion = 2
	// logHeader is the length of the header, oldLogHeader that of version 1, which
	// was one log that grew for ever.
	logHeader    = 32
	oldLogHeader = 16
)

// newLogHeader tells the highest number that was ever seen, since everything
// that had it may have been forgotten.
func newLogHeader(last uint64) []byte {
	b := make([]byte, logHeader)
	copy(b, logMagic)
	binary.LittleEndian.PutUint32(b[8:], logVersion)
	binary.LittleEndian.PutUint64(b[16:], last)
	binary.LittleEndian.PutUint32(b[24:], crc32.Checksum(b[:24], castagnoli))
	return b
}

// openLog reads a log. It changes nothing. One that is not there gives an error
// that matches [fs.ErrNotExist], one of a newer version [journal.ErrNewer].
func openLog(d disk.Disk, name string) (*log, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	l := newLog(d, name)
	l.file = f
	if err := l.load(); err != nil {
		f.Close()
		return nil, fmt.Errorf("read receipts %s: %w", name, err)
	}
	return l, nil
}

func (l *log) load() error {
	size, err := l.file.Size()
	if err != nil {
		return err
	}
	head := make([]byte, logHeader)
	if _, err := l.file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if size < oldLogHeader || isZero(head) { // cut off while it was being made
		l.cut = true
		return nil
	}
	if err := l.readHeader(head); err != nil {
		return err
	}
	r := newReader(l.file, l.start(), size)
	sure := int64(0)
	for {
		raw, at, ok := r.next()
		if !ok {
			break
		}
		sure = max(sure, at-raw.behind())
		l.end = at + int64(len(raw))
		if e, err := raw.decode(); err == nil {
			l.add(raw, uint32(at/unit), e)
		} else {
			l.damaged++ // sound bytes that say nothing: not written by this program
		}
	}
	for _, s := range r.dirty {
		switch {
		case s.from < sure:
			l.damaged++
		case s.from < l.end: // of an Append that was interrupted
			l.torn = append(l.torn, s)
		}
	}
	if !l.sound && l.end > l.start() {
		l.damaged++
	}
	// A file without entries may be one whose beginning was interrupted: neither
	// its header nor its name need be durable.
	l.cut = size > l.end || len(l.torn) > 0 || l.end == l.start()
	return nil
}

// start is where the entries begin.
func (l *log) start() int64 {
	if l.version == 1 {
		return oldLogHeader
	}
	return logHeader
}

// readHeader refuses a newer version. A header that is not sound costs what it
// says, not the entries.
func (l *log) readHeader(b []byte) error {
	le := binary.LittleEndian
	v := le.Uint32(b[8:])
	switch {
	case string(b[:8]) != logMagic || v == 0:
		l.version = 1 // whose entries begin first
	case v > logVersion:
		return fmt.Errorf("%w: format %d, known is %d", journal.ErrNewer, v, logVersion)
	case v == 1:
		l.version, l.sound = 1, true
	case le.Uint32(b[24:]) == crc32.Checksum(b[:24], castagnoli):
		l.last, l.sound = le.Uint64(b[16:]), true
	}
	l.end = l.start()
	return nil
}

// usable says whether entries may be appended: there is a sound header, or none
// is needed yet.
func (l *log) usable() bool { return l.sound || l.count == 0 }

// isBegun says whether its header is on the disk.
func (l *log) isBegun() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.sound
}

// prepare makes the file ready for appending at l.end.
func (l *log) prepare(last uint64) error {
	if l.file == nil {
		f, err := l.disk.Create(l.name)
		if err != nil {
			return err
		}
		l.file, l.cut = f, true
	}
	if !l.cut {
		return nil
	}
	if l.end == l.start() {
		return l.begin(last)
	}
	// The rest of the last page is written anew, and what follows dropped, so that
	// the next sync has every page to write.
	clean := journal.AlignPage(l.end)
	if err := l.file.Truncate(l.end); err != nil {
		return err
	}
	if _, err := l.file.WriteAt(make([]byte, clean-l.end), l.end); err != nil {
		return err
	}
	for _, s := range l.torn {
		if _, err := l.file.WriteAt(make([]byte, s.to-s.from), s.from); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end, l.cut, l.torn = clean, false, nil
	return nil
}

func (l *log) begin(last uint64) error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	if _, err := l.file.WriteAt(newLogHeader(last), 0); err != nil {
		return err
	}
	if err := l.file.Sync(); err != nil {
		return err
	}
	if err := l.disk.SyncDir(dirOf(l.name)); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.version, l.sound, l.end, l.cut = logVersion, true, logHeader, false
	l.last = max(l.last, last)
	return nil
}

// usual covers nearly every entry, so that a look-up is one read.
const usual = 1024

func (l *log) read(at uint32) (entry, error) {
	b := make([]byte, usual)
	n, err := l.file.ReadAt(b, int64(at)*unit)
	if n < entryFixed {
		return nil, fmt.Errorf("read receipt: %w", err)
	}
	size := int(binary.LittleEndian.Uint32(b[4:]))
	if size > maxEntry {
		return nil, fmt.Errorf("read receipt: length %d: %w", size, errDamaged)
	}
	if size > n {
		b = make([]byte, size)
		if n, err = l.file.ReadAt(b, int64(at)*unit); n < size {
			return nil, fmt.Errorf("read receipt: %w", err)
		}
	}
	raw := entry(b).whole()
	if !raw.valid() {
		return nil, fmt.Errorf("%s: receipt at %d: %w", l.name, int64(at)*unit, errDamaged)
	}
	return raw, nil
}

// bounds is where the entries begin and what is durable of them ends.
func (l *log) bounds() (start, end int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.start(), l.end
}

// all calls f with every entry, in the order of being added, until it is false.
func (l *log) all(f func(raw entry, at uint32) bool) {
	start, end := l.bounds()
	if end == start {
		return
	}
	r := newReader(l.file, start, end)
	for {
		raw, at, ok := r.next()
		if !ok || !f(raw, uint32(at/unit)) {
			return
		}
	}
}
