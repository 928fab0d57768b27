package spool

import (
	"errors"
	"fmt"
	"slices"

	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/register"
)

// sealSegments gives full segments their index. A segment that was not closed
// in order, or is damaged, is read whole at the next open instead.
func (s *Spool) sealSegments() {
	for _, seg := range s.pick(func(seg *segment) bool { return !seg.sealed && !seg.broken }) {
		if s.isClosed() {
			return
		}
		if err := s.seal(seg); err != nil {
			s.log.Error("segment not sealed", "segment", seg.name, "err", err)
			s.mu.Lock()
			seg.broken = true
			s.mu.Unlock()
		}
	}
}

// seal writes the index. It reads no bodies: they are as they were written, or
// as damaged as the index would have them.
func (s *Spool) seal(seg *segment) error {
	at := journal.AlignPage(seg.tail)
	want := seg.header.Base
	n, footer, err := journal.WriteIndex(seg.file, seg.header, func(yield func(journal.Record) bool) {
		for r := range journal.Walk(seg.file, seg.header, seg.tail) {
			if r.Seq != want || !yield(r) {
				return
			}
			want = r.Last() + 1
		}
	}, at)
	if err != nil {
		return err
	}
	if want != seg.next {
		return fmt.Errorf("record %d is damaged", want)
	}
	size, err := seg.file.Size()
	if err != nil {
		return err
	}
	end := max(at+journal.AlignPage(n)+journal.Page, journal.AlignPage(size))
	if _, err := seg.file.WriteAt(footer, end-journal.Page); err != nil {
		return err
	}
	if err := seg.file.Sync(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.sealed, seg.size = true, end
	s.counters.sealed++
	return nil
}

const (
	// A segment is compacted when less than one part in compactShare of it is held.
	// A larger number leaves more disk to dead records, a smaller one copies more.
	compactShare = 8
	// compactBehind is how many newer segments there must be: what is recent is
	// likely to be delivered soon.
	compactBehind = 2
)

// compact copies what keeps old segments from being freed.
func (s *Spool) compact() {
	s.mu.Lock()
	var old []*segment
	if n := len(s.segments) - compactBehind - 1; n > 0 {
		old = slices.Clone(s.segments[:n])
	}
	s.mu.Unlock()
	for _, seg := range s.pick(func(seg *segment) bool {
		return slices.Contains(old, seg) && seg.live > 0 && seg.liveBytes <= seg.header.Capacity/compactShare
	}) {
		if err := s.compactSegment(seg); err != nil {
			s.log.Error("segment not compacted", "segment", seg.name, "err", err)
			return
		}
	}
}

func (s *Spool) compactSegment(seg *segment) error {
	var held []uint64
	s.within(seg, func(_ register.Ref, e *entry) {
		if e.Segment == seg.id && isHeld(e) {
			held = append(held, e.Seq)
		}
	})
	for _, seq := range held {
		if err := s.copyHeld(seq); err != nil {
			return err
		}
	}
	return nil
}

// scanAtOnce is how many entries are looked at before uploads get their turn.
const scanAtOnce = 4096

// within calls f with every entry that may have a record or a mark in a
// segment, with s.mu held.
func (s *Spool) within(seg *segment, f func(register.Ref, *entry)) {
	s.mu.Lock()
	next, high := seg.low, seg.high
	s.mu.Unlock()
	for n := scanAtOnce; n == scanAtOnce; {
		n = 0
		s.mu.Lock()
		for ref, e := range s.register.From(next) {
			if n == scanAtOnce || e.Seq > high {
				break
			}
			n++
			next = e.Seq + 1
			f(ref, e)
		}
		s.mu.Unlock()
	}
}

// copyHeld copies an upload's record unless it left.
func (s *Spool) copyHeld(seq uint64) error {
	s.mu.Lock()
	l, ok := s.locateHeld(seq)
	s.mu.Unlock()
	if !ok {
		return nil
	}
	return s.copyUpload(l)
}

// copyUpload writes an upload's record again, under its own number, and lets it
// go.
func (s *Spool) copyUpload(l *located) error {
	defer s.letGo(l)
	seq := l.seq
	r, body, err := readRecord(l, make([]byte, l.size()))
	var u *journal.Upload
	if err == nil {
		u, err = s.decode(r, seq)
	}
	var damage *damageError
	if errors.As(err, &damage) {
		return s.lose([]uint64{seq}, LossDamaged, err.Error())
	}
	if err != nil {
		return err
	}
	meta := journal.AppendUpload(nil, u, true)
	return s.record(func() *item {
		it := newItem(journal.TypeUpload, 1, meta)
		it.buf = append(it.buf, body...)
		it.rec.Meta = it.buf[journal.RecordHeader:][:len(meta)]
		it.rec.BodyLen = int64(len(body))
		it.durable = func(seg *segment, r journal.Record) []Event {
			s.moved(seq, seg, r)
			return nil
		}
		return it
	})
}

// moved makes a copy the upload's record. One that left while it was copied
// moves too: its marks are kept as long as any record of it.
func (s *Spool) moved(seq uint64, seg *segment, r journal.Record) {
	_, e := s.register.Find(seq)
	old := s.byID[e.Segment]
	if isHeld(e) {
		old.live--
		old.liveBytes -= recordLen(e)
	}
	s.stale[seq] = append(s.stale[seq], old)
	s.settle(e, seg, r.Offset, len(r.Meta))
	if isHeld(e) {
		seg.live++
		seg.liveBytes += recordLen(e)
	}
	if old.live == 0 {
		s.kick()
	}
}
