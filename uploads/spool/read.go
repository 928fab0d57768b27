package spool

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"inventorybeacon/uploads/spool/disk"
	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/register"
)

var errUnreadable = errors.New("it cannot be read")

// A damageError means that the disk did not keep what it was given.
type damageError struct{ error }

// A spot is where a record is.
type spot struct {
	seg    *segment
	offset int64
}

func (p spot) place() journal.Place {
	return journal.Place{Generation: p.seg.header.Generation, Offset: p.offset}
}

// A located upload is one whose record, and whose marks', stay where they are
// until it is let go.
type located struct {
	seq    uint64
	file   uint32
	lost   bool
	blob   bool // its body is in a file of its own
	record spot
	meta   int   // length of the record's metadata
	body   int64 // and of its body
	marks  []markAt
}

// A markAt is where the record of an event is.
type markAt struct {
	event uint64
	spot
}

// locate keeps an entry's record where it is. It is false if nothing of the
// upload can be read, or if its receipt is in the archive.
func (s *Spool) locate(e *entry) (*located, bool) {
	seg := s.byID[e.Segment]
	if e.Is(register.Nameless) || seg.closing {
		return nil, false
	}
	seg.readers++
	return &located{
		seq: e.Seq, file: e.File, lost: e.Is(register.Lost), blob: e.Is(register.Blob), meta: int(e.Meta), body: inline(e),
		record: spot{seg, int64(e.Block) * journal.Block},
	}, true
}

// locateWhole keeps the records of its marks, too.
func (s *Spool) locateWhole(e *entry) (*located, bool) {
	l, ok := s.locate(e)
	if ok {
		l.marks = append(s.locateMarks(e.Marks), s.locateMarks(s.learnt[e.Seq])...)
	}
	return l, ok
}

func (s *Spool) locateMarks(first uint32) (out []markAt) {
	for m := range s.marks.List(first) {
		if at, ok := s.locateMark(m); ok {
			out = append(out, at)
		}
	}
	return out
}

// locateMark keeps a mark's record where it is. It is false if the receipt in
// the archive has it.
func (s *Spool) locateMark(m *register.Mark) (at markAt, ok bool) {
	seg := s.byID[m.Segment]
	if seg == nil || seg.closing {
		return at, false
	}
	seg.readers++
	return markAt{m.Event, spot{seg, int64(m.Block) * journal.Block}}, true
}

// letGo ends that.
func (s *Spool) letGo(l *located) {
	if l == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.record.seg != nil {
		s.unpin(l.record.seg)
	}
	for _, m := range l.marks {
		s.unpin(m.seg)
	}
}

func (s *Spool) unpin(seg *segment) {
	if seg.readers--; seg.readers == 0 && seg.awaited {
		seg.awaited = false
		s.kick()
	}
}

// usualHead is read where the length of a record's head is not known: nearly
// every one is shorter.
const usualHead = 2 << 10

// readHead reads a record without its body. length is that of header and
// metadata, or 0.
func readHead(f disk.File, at journal.Place, length int) (journal.Record, error) {
	if length == 0 {
		length = usualHead
	}
	for {
		b := make([]byte, length)
		n, err := f.ReadAt(b, at.Offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return journal.Record{}, fmt.Errorf("read journal: %w", err)
		}
		if need := journal.HeadLen(b[:n]); n == length && need > length {
			length = need
			continue
		}
		r, err := at.Head(b[:n])
		if err != nil {
			return r, &damageError{err}
		}
		return r, nil
	}
}

// readUpload reads what is known of an upload.
func (s *Spool) readUpload(l *located) (*journal.Upload, error) {
	if u := s.recent.get(l.seq); u != nil {
		return u, nil
	}
	r, err := readHead(l.record.seg.file, l.record.place(), journal.RecordHeader+l.meta)
	var damage *damageError
	if errors.As(err, &damage) {
		var ok bool
		if r, ok = s.fromIndex(l.record); ok {
			err = nil
		}
	}
	if err != nil {
		return nil, err
	}
	return s.decode(r, l.seq)
}

func (s *Spool) decode(r journal.Record, seq uint64) (*journal.Upload, error) {
	u, err := journal.DecodeUpload(r.Meta, r.Seq)
	if err == nil && u.Seq != seq {
		err = fmt.Errorf("the record is of upload %d", u.Seq)
	}
	if err != nil {
		return nil, &damageError{fmt.Errorf("upload %d: %w", seq, err)}
	}
	s.recent.put(u)
	return u, nil
}

// fromIndex finds a record whose own header is damaged.
func (s *Spool) fromIndex(at spot) (journal.Record, bool) {
	size, err := at.seg.file.Size()
	if err != nil {
		return journal.Record{}, false
	}
	if x, ok := journal.OpenIndex(at.seg.file, at.seg.header, size); ok {
		for r := range x.Records() {
			if r.Offset == at.offset {
				return r, true
			}
		}
	}
	return journal.Record{}, false
}

// readMarks reads marks, of which several may be in one record. Those that are
// damaged are left out, with a [damageError] at the end.
func (s *Spool) readMarks(at []markAt) (out []*journal.Mark, damage error) {
	r := markReader{}
	for _, m := range at {
		mark, err := r.read(m)
		switch {
		case isDamage(err):
			damage = err
		case err != nil:
			return nil, err
		default:
			out = append(out, mark)
		}
	}
	return out, damage
}

// A markReader reads marks and remembers the records that it read last: each holds
// many marks, and uploads have one for each destination. A segment that is used
// again is another one, so that what is remembered is never of its life before.
type markReader struct {
	records [4]markRecord
	next    int // to be forgotten
}

// A markRecord is one that was read, unless it has no marks.
type markRecord struct {
	at    spot
	marks []*journal.Mark
}

func (r *markReader) record(m markAt) ([]*journal.Mark, error) {
	for _, known := range r.records {
		if known.at == m.spot && known.marks != nil {
			return known.marks, nil
		}
	}
	rec, err := readHead(m.seg.file, m.place(), 0)
	if err != nil {
		return nil, err
	}
	marks, err := journal.DecodeMarks(rec.Meta, rec.Seq)
	if err != nil {
		return nil, &damageError{err}
	}
	r.records[r.next] = markRecord{m.spot, marks}
	r.next = (r.next + 1) % len(r.records)
	return marks, nil
}

func (r *markReader) read(m markAt) (*journal.Mark, error) {
	marks, err := r.record(m)
	if err != nil {
		return nil, err
	}
	for _, mark := range marks {
		if mark.Event == m.event {
			one := *mark
			return &one, nil
		}
	}
	return nil, &damageError{fmt.Errorf("event %d is not where it was", m.event)}
}

// recentUploads are kept in memory: what was accepted last is what is asked for
// next. More would save reads of a relay that is further behind; each takes about
// 500 bytes.
const recentUploads = 512

// recent are uploads that were accepted or read last. They must not be changed.
type recent struct {
	mu    sync.Mutex
	slots [recentUploads]*journal.Upload
}

func (r *recent) get(seq uint64) *journal.Upload {
	r.mu.Lock()
	defer r.mu.Unlock()
	if u := r.slots[seq%recentUploads]; u != nil && u.Seq == seq {
		return u
	}
	return nil
}

func (r *recent) put(u *journal.Upload) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slots[u.Seq%recentUploads] = u
}
