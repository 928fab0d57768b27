package receipts

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/journal"
)

const (
	entryMagic = "IBe1"
	entryFixed = 80
	unit       = 16
	maxEntry   = 4 << 20

	flagLost     = 1 // it left without being delivered
	flagNameless = 2 // only its numbers are known
	flagBits     = 8 // above them is how far behind what was durable it was written

	// maxBehind is as much as those bits can say.
	maxBehind = 1<<(32-flagBits) - 1
)

// An entry is the bytes of one.
type entry []byte

// appendEntry appends an entry; behind is how many units lie between it and
// what is durable now.
func appendEntry(b []byte, e *Entry, id NameID, prev uint32, behind int) []byte {
	start := len(b)
	b = append(b, make([]byte, entryFixed)...)
	b = journal.AppendUpload(b, &e.Upload, true)
	metaLen := len(b) - start - entryFixed
	for _, m := range e.Marks {
		b = journal.AppendMark(b, m)
	}
	for len(b)%unit != start%unit {
		b = append(b, 0)
	}
	var flags uint32
	if e.Lost() {
		flags |= flagLost
	}
	if e.Upload.Name.IsZero() {
		flags |= flagNameless
	}
	raw, le := b[start:], binary.LittleEndian
	copy(raw, entryMagic)
	le.PutUint32(raw[4:], uint32(len(raw)))
	le.PutUint32(raw[12:], flags|uint32(min(behind, maxBehind))<<flagBits)
	copy(raw[16:], id[:])
	copy(raw[32:], e.Upload.Digest[:])
	le.PutUint64(raw[64:], e.last())
	le.PutUint32(raw[72:], prev)
	le.PutUint32(raw[76:], uint32(metaLen))
	le.PutUint32(raw[8:], crc32.Checksum(raw[12:], castagnoli))
	return b
}

// whole leaves out what follows it.
func (e entry) whole() entry {
	return e[:min(int(binary.LittleEndian.Uint32(e[4:])), len(e))]
}

func (e entry) valid() bool {
	return len(e) >= entryFixed && string(e[:4]) == entryMagic &&
		binary.LittleEndian.Uint32(e[8:]) == crc32.Checksum(e[12:], castagnoli) &&
		int(binary.LittleEndian.Uint32(e[76:])) <= len(e)-entryFixed
}

// behind is how many bytes before its place everything was durable when it was
// written.
func (e entry) behind() int64    { return int64(e.flags()>>flagBits) * unit }
func (e entry) flags() uint32    { return binary.LittleEndian.Uint32(e[12:]) }
func (e entry) nameless() bool   { return e.flags()&flagNameless != 0 }
func (e entry) name() NameID     { return NameID(e[16:32]) }
func (e entry) file() FileID     { return FileID{e.name(), uploads.Digest(e[32:64])} }
func (e entry) previous() uint32 { return binary.LittleEndian.Uint32(e[72:]) }

func (e entry) decode() (*Entry, error) {
	metaEnd := entryFixed + int(binary.LittleEndian.Uint32(e[76:]))
	u, err := journal.DecodeUpload(e[entryFixed:metaEnd], 0)
	if err != nil && !e.nameless() {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	marks, err := journal.DecodeMarks(e.marks(metaEnd), 0)
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	return &Entry{Upload: *u, Marks: marks}, nil
}

// marks leaves out the padding, which would read as a field.
func (e entry) marks(from int) []byte {
	b := e[from:]
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag == 0 {
			break
		}
		size, m := binary.Uvarint(b[n:])
		if m <= 0 || size > uint64(len(b)-n-m) {
			break
		}
		b = b[n+m+int(size):]
	}
	return e[from : len(e)-len(b)]
}

// A reader goes through a log and over what is damaged in it.
type reader struct {
	b     *bufio.Reader
	at    int64
	end   int64
	dirty []stretch // what is neither entries nor zeros; the last one may lack its end
}

// A stretch is a part of the file.
type stretch struct{ from, to int64 }

// readerBytes is a bufio size that holds any entry whole.
const readerBytes = maxEntry + unit

// newReader reads from start on.
func newReader(r io.ReaderAt, start, end int64) *reader {
	b := bufio.NewReaderSize(io.NewSectionReader(r, 0, end), int(min(readerBytes, max(end, unit))))
	n, _ := b.Discard(int(start))
	return &reader{b: b, at: int64(n), end: end}
}

// next returns the next sound entry and where it is.
func (r *reader) next() (e entry, at int64, ok bool) {
	inDirt := false
	for r.at+entryFixed <= r.end {
		if e, ok := r.entry(); ok {
			at := r.at
			if inDirt {
				r.dirty[len(r.dirty)-1].to = at
			}
			e = append(entry(nil), e...)
			n, _ := r.b.Discard(len(e))
			r.at += int64(n)
			return e, at, true
		}
		b, err := r.b.Peek(unit)
		if err != nil {
			break
		}
		if !inDirt && !isZero(b) {
			inDirt = true
			r.dirty = append(r.dirty, stretch{from: r.at})
		}
		n, _ := r.b.Discard(unit)
		r.at += int64(n)
	}
	return nil, r.at, false
}

func (r *reader) entry() (entry, bool) {
	b, err := r.b.Peek(entryFixed)
	if err != nil || string(b[:4]) != entryMagic {
		return nil, false
	}
	size := int64(binary.LittleEndian.Uint32(b[4:]))
	if size < entryFixed || size > maxEntry || size > r.end-r.at {
		return nil, false
	}
	if b, err = r.b.Peek(int(size)); err != nil {
		return nil, false
	}
	e := entry(b)
	return e, e.valid()
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
