package receipts

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"inventorybeacon/uploads/spool/journal"
)

func (l *Log) load() error {
	size, err := l.file.Size()
	if err != nil {
		return err
	}
	head := make([]byte, headerBytes)
	if _, err := l.file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if size < headerBytes || isZero(head) { // cut off while it was being made
		l.cut = true
		return nil
	}
	if err := checkHeader(head); err != nil {
		return err
	}
	r := newReader(io.NewSectionReader(l.file, 0, size), size)
	sure := int64(0)
	for {
		raw, at, ok := r.next()
		if !ok {
			break
		}
		sure = max(sure, at-raw.behind())
		l.add(raw, uint32(at/unit))
		l.end = at + int64(len(raw))
	}
	for _, s := range r.dirty {
		switch {
		case s.from < sure:
			l.damaged++
		case s.from < l.end: // of an Append that was interrupted
			l.torn = append(l.torn, s)
		}
	}
	// A file without entries may be one whose beginning was interrupted: neither
	// its header nor its name need be durable.
	l.cut = size > l.end || len(l.torn) > 0 || l.end == headerBytes
	return nil
}

// prepare makes the file ready for appending at l.end.
func (l *Log) prepare() error {
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
	if l.end == headerBytes {
		return l.begin()
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
	l.end, l.cut, l.torn = clean, false, nil
	return nil
}

func (l *Log) begin() error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	if _, err := l.file.WriteAt(header(), 0); err != nil {
		return err
	}
	if err := l.file.Sync(); err != nil {
		return err
	}
	if err := l.disk.SyncDir(dirOf(l.name)); err != nil {
		return err
	}
	l.cut = false
	return nil
}

// usual covers nearly every entry, so that a look-up is one read.
const usual = 1024

func (l *Log) read(at uint32) (entry, error) {
	b := make([]byte, usual)
	n, err := l.file.ReadAt(b, int64(at)*unit)
	if n < entryFixed {
		return nil, fmt.Errorf("read receipt: %w", err)
	}
	size := int(binary.LittleEndian.Uint32(b[4:]))
	if size > maxEntry {
		return nil, fmt.Errorf("read receipt: bad length %d", size)
	}
	if size > n {
		b = make([]byte, size)
		if n, err = l.file.ReadAt(b, int64(at)*unit); n < size {
			return nil, fmt.Errorf("read receipt: %w", err)
		}
	}
	raw := entry(b[:max(size, 0)])
	if !raw.valid() {
		return nil, fmt.Errorf("receipt at %d is damaged", int64(at)*unit)
	}
	return raw, nil
}
