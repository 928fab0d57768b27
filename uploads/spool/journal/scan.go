package journal

import (
	"encoding/binary"
	"hash/crc32"
	"io"
)

// Scan reads every record of a segment's present life, in the order of their
// places: records with a sound header but a damaged body too, with Intact
// false. It looks for records behind a damaged one on every block, since the
// damaged header's length is not to be trusted. Unreadable blocks count as
// damaged.
func Scan(f io.ReaderAt, h Header, size int64) []Record {
	w := &window{f: f, end: size}
	var out []Record
	for at := int64(Start); at+RecordHeader <= size; {
		r, ok := w.record(at, h.Generation)
		if !ok {
			at += Block
			continue
		}
		out = append(out, r)
		if r.Intact {
			at = r.End()
		} else {
			at += Block // the body may hide the next record
		}
	}
	return out
}

// A window reads a file from front to back with few calls.
type window struct {
	f    io.ReaderAt
	end  int64
	buf  []byte
	at   int64
	have int
}

// windowBytes is large enough that reading is bound by the disk and small
// enough not to be noticed in memory.
const windowBytes = 256 << 10

// bytes returns n bytes at offset at, or fewer at the end of the file or of
// what is readable. They are valid until the next call.
func (w *window) bytes(at int64, n int) []byte {
	n = int(min(int64(n), w.end-at, windowBytes))
	if n <= 0 {
		return nil
	}
	if at < w.at || at+int64(n) > w.at+int64(w.have) {
		w.fill(at)
	}
	return w.buf[at-w.at:][:min(n, w.have-int(at-w.at))]
}

func (w *window) fill(at int64) {
	if w.buf == nil {
		w.buf = make([]byte, windowBytes)
	}
	w.at = at
	n, err := w.f.ReadAt(w.buf[:min(windowBytes, w.end-at)], at)
	if err != nil && n < RecordHeader {
		// An unreadable block is as good as zeros: no record begins here.
		n = int(min(Block, w.end-at))
		clear(w.buf[:n])
	}
	w.have = n
}

func (w *window) record(at int64, generation uint64) (r Record, ok bool) {
	b := w.bytes(at, RecordHeader)
	if len(b) < RecordHeader {
		return r, false
	}
	metaLen, ok := r.fixed(b, generation, at, w.end)
	if !ok {
		return r, false
	}
	wantHead := binary.LittleEndian.Uint32(b[headCRCAt:])
	wantWhole := binary.LittleEndian.Uint32(b[wholeCRCAt:])
	head := crc32.Checksum(b[:headCRCAt], castagnoli)
	r.Meta = make([]byte, 0, metaLen)
	for len(r.Meta) < metaLen {
		part := w.bytes(at+RecordHeader+int64(len(r.Meta)), metaLen-len(r.Meta))
		if len(part) == 0 {
			return r, false
		}
		r.Meta = append(r.Meta, part...)
	}
	head = crc32.Update(head, castagnoli, r.Meta)
	if head != wantHead {
		return r, false
	}
	if r.Type == TypeVoid {
		r.Intact = wantWhole == head
		return r, true
	}
	r.Intact = w.checksum(head, r.BodyOffset(), r.BodyLen) == wantWhole
	return r, true
}

func (w *window) checksum(crc uint32, at, n int64) uint32 {
	for n > 0 {
		part := w.bytes(at, int(min(n, windowBytes)))
		if len(part) == 0 {
			return ^crc
		}
		crc = crc32.Update(crc, castagnoli, part)
		at, n = at+int64(len(part)), n-int64(len(part))
	}
	return crc
}
