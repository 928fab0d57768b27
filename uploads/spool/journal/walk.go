package journal

import (
	"io"
	"iter"
)

// Walk yields the records of a segment that was written in good order up to
// end, reading their headers and metadata alone. It stops where no record begins
// that should; whoever needs all of them counts their numbers. Their metadata is
// valid until the next one.
func Walk(f io.ReaderAt, h Header, end int64) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		w := &headWindow{f: f, end: end}
		at := int64(Start)
		for {
			r, ok := w.record(h.Generation, at)
			if !ok { // the next group begins on the next page
				if r, ok = w.record(h.Generation, AlignPage(at)); !ok {
					return
				}
			}
			at = r.End()
			if !yield(r) {
				return
			}
		}
	}
}

// headBytes hold the header and the metadata of nearly every record, and where
// records are small, several of them.
const headBytes = 4 << 10

// A headWindow holds the part of a file that was read last.
type headWindow struct {
	f   io.ReaderAt
	end int64
	buf []byte
	at  int64
}

// bytes returns n bytes at an offset, or nil if there are not so many.
func (w *headWindow) bytes(at, n int64) []byte {
	if at+n > w.end {
		return nil
	}
	if at < w.at || at+n > w.at+int64(len(w.buf)) {
		size := min(max(n, headBytes), w.end-at)
		if int64(cap(w.buf)) < size {
			w.buf = make([]byte, size)
		}
		w.buf, w.at = w.buf[:size], at
		if got, err := w.f.ReadAt(w.buf, at); int64(got) < size && err != nil {
			w.buf = w.buf[:got]
		}
	}
	if at+n > w.at+int64(len(w.buf)) {
		return nil
	}
	return w.buf[at-w.at:]
}

func (w *headWindow) record(generation uint64, at int64) (r Record, ok bool) {
	b := w.bytes(at, RecordHeader)
	if b == nil {
		return r, false
	}
	metaLen, ok := r.fixed(b, generation, at, w.end)
	if !ok {
		return r, false
	}
	if b = w.bytes(at, RecordHeader+int64(metaLen)); b == nil {
		return r, false
	}
	r, err := Place{generation, at}.Head(b)
	r.Intact = err == nil
	return r, err == nil
}
