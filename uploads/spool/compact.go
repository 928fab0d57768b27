package spool

import (
	"errors"
	"fmt"
	"slices"

	"inventorybeacon/uploads/spool/journal"
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

func (s *Spool) seal(seg *segment) error {
	records := journal.Scan(seg.file, seg.header, seg.tail)
	want := seg.header.Base
	for _, r := range records {
		if !r.Intact || r.Seq != want {
			return fmt.Errorf("record %d is damaged", want)
		}
		want = r.Last() + 1
	}
	at := journal.AlignPage(seg.tail)
	index, footer := journal.Seal(seg.header, records, at)
	size, err := seg.file.Size()
	if err != nil {
		return err
	}
	end := max(at+journal.AlignPage(int64(len(index)))+journal.Page, journal.AlignPage(size))
	if _, err := seg.file.WriteAt(index, at); err != nil {
		return err
	}
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
	s.mu.Lock()
	entries := slices.DeleteFunc(slices.Clone(seg.entries), func(e *entry) bool { return e.left || e.seg != seg })
	s.mu.Unlock()
	for _, e := range entries {
		p := s.pin(e.Seq)
		if p == nil {
			continue // it left
		}
		err := s.copyUpload(e)
		s.unpin(p)
		if err != nil {
			return err
		}
	}
	return nil
}

// copyUpload writes an upload's record again, under its own number.
func (s *Spool) copyUpload(e *entry) error {
	meta := journal.AppendUpload(nil, &e.Upload, true)
	it := newItem(journal.TypeUpload, 1, meta)
	if e.Blob == "" {
		body, err := readRecord(e.seg.file, e.rec, e.length())
		var damage *damageError
		if errors.As(err, &damage) {
			return s.lose([]uint64{e.Seq}, LossDamaged, err.Error())
		}
		if err != nil {
			return err
		}
		it.buf = append(it.buf, body...)
		it.rec.Meta = it.buf[journal.RecordHeader:][:len(meta)]
		it.rec.BodyLen = int64(len(body))
	}
	it.durable = func(seg *segment, r journal.Record) []Event {
		s.moved(e, seg, r)
		return nil
	}
	return s.append(it)
}

// moved makes a copy the upload's record. One that left while it was copied
// moves too: its marks are kept as long as any record of it.
func (s *Spool) moved(e *entry, seg *segment, r journal.Record) {
	old := e.seg
	if !e.left {
		old.live--
		old.liveBytes -= e.rec.Len()
	}
	e.stale = append(e.stale, old)
	e.settle(seg, r)
	seg.entries = append(seg.entries, e)
	if !e.left {
		seg.live++
		seg.liveBytes += r.Len()
	}
	if old.live == 0 {
		s.kick()
	}
}
