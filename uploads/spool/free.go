package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/receipts"
	"inventorybeacon/uploads/spool/sabotage"
)

// freeSegments frees, oldest first, what holds nothing any longer.
func (s *Spool) freeSegments() {
	for _, seg := range s.pick(func(seg *segment) bool { return seg.live == 0 && seg.readers == 0 }) {
		if s.isClosed() {
			return
		}
		if err := s.freeSegment(seg); err != nil {
			s.log.Error("segment not freed", "segment", seg.name, "err", err)
		}
	}
}

// freeSegment empties a segment in the order that a crash at any instant is
// harmless in: receipts, then marks and cuts that others still need, then the
// new generation. Only then does it count as gone.
func (s *Spool) freeSegment(seg *segment) error {
	leaving, marks, cuts, ok := s.contents(seg)
	if !ok {
		return nil // an older segment has to go first
	}
	if sabotage.RecycleNeededMarks {
		marks = nil
	}
	if !seg.emptied {
		if err := s.archiveAll(seg, leaving); err != nil {
			return err
		}
		if err := s.copyMarks(marks); err != nil {
			return fmt.Errorf("copy marks: %w", err)
		}
		for _, c := range cuts {
			if err := s.append(cutItem(c)); err != nil {
				return fmt.Errorf("copy cut: %w", err)
			}
		}
		seg.emptied = true
	}
	free, err := s.retire(seg)
	if err != nil {
		return err
	}
	s.forget(seg, leaving)
	s.recycle(free)
	return nil
}

// archiveAll moves to the archive what is only in this segment: the receipts of
// what leaves, and what was learnt of uploads whose receipts are there already.
func (s *Spool) archiveAll(seg *segment, leaving []*entry) error {
	entries := s.receiptsFor(leaving)
	known, err := s.updates(seg)
	if err == nil {
		err = s.archive.Append(append(entries, known...))
	}
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		seg.leaving = false
	}
	return err
}

// updates returns the receipts that what was learnt in a segment adds to.
func (s *Spool) updates(seg *segment) (out []*receipts.Entry, err error) {
	for seq, marks := range s.learntIn(seg) {
		id, ok := fileOf(marks[0].File)
		if !ok {
			continue
		}
		e, err := s.archive.FindExact(id)
		if err != nil {
			return nil, err
		}
		if e == nil || e.Upload.Seq != seq {
			continue // beyond the horizon, or lost and sent again since
		}
		for _, m := range marks {
			if !slices.ContainsFunc(e.Marks, func(k *journal.Mark) bool { return k.Event == m.Event }) {
				e.Marks = append(e.Marks, m)
			}
		}
		out = append(out, e)
	}
	return out, nil
}

// learntIn returns the marks in a segment, and those that go with them, of
// uploads whose records are gone.
func (s *Spool) learntIn(seg *segment) map[uint64][]*journal.Mark {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[uint64][]*journal.Mark{}
	for seq, marks := range s.learnt {
		if s.entries[seq] != nil || !slices.ContainsFunc(marks, func(m markAt) bool { return m.seg == seg }) {
			continue
		}
		for _, m := range marks {
			out[seq] = append(out[seq], m.Mark)
		}
	}
	return out
}

// A markOf is a mark with its entry.
type markOf struct {
	e *entry
	m *journal.Mark
}

// contents tells what leaves with a segment, and what in it others need.
func (s *Spool) contents(seg *segment) (leaving []*entry, marks []markOf, cuts []journal.Cut, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range seg.entries {
		if e.seg != seg {
			continue
		}
		// The other record of a copied upload would come to life again.
		if slices.ContainsFunc(e.stale, func(o *segment) bool { return slices.Contains(s.segments, o) }) {
			return nil, nil, nil, false
		}
		leaving = append(leaving, e)
	}
	for seq, learnt := range s.learnt {
		e := s.entries[seq]
		if e != nil && e.seg != seg && !e.seg.emptied && slices.ContainsFunc(learnt, func(m markAt) bool { return m.seg == seg }) {
			return nil, nil, nil, false // its own segment was about to go
		}
	}
	seg.leaving = true
	for _, e := range seg.marked {
		if e.seg == seg || s.entries[e.Seq] != e {
			continue
		}
		for _, m := range e.marks {
			if m.seg == seg {
				marks = append(marks, markOf{e, m.Mark})
			}
		}
	}
	for _, c := range seg.cuts {
		if slices.ContainsFunc(s.segments, func(o *segment) bool { return o != seg && o.header.Generation == c.Generation }) {
			cuts = append(cuts, c)
		}
	}
	return leaving, marks, cuts, true
}

// receiptsFor makes receipts of the entries. A run that was cut short may have
// written some of them; they are written again, since what can be read of
// those need not be on the disk.
func (s *Spool) receiptsFor(entries []*entry) []*receipts.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*receipts.Entry, len(entries))
	for i, e := range entries {
		out[i] = &receipts.Entry{Upload: e.Upload}
		for _, m := range e.marks {
			out[i].Marks = append(out[i].Marks, m.Mark)
		}
		for _, m := range s.learnt[e.Seq] {
			out[i].Marks = append(out[i].Marks, m.Mark)
		}
	}
	return out
}

func cutItem(c journal.Cut) *item {
	it := newItem(journal.TypeCut, 1, journal.AppendCut(nil, c))
	it.durable = func(seg *segment, _ journal.Record) []Event {
		seg.cuts = append(seg.cuts, c)
		return nil
	}
	return it
}

// copyMarks records marks again, under the numbers they had.
func (s *Spool) copyMarks(marks []markOf) error {
	for part := range slices.Chunk(marks, marksPerRecord) {
		if err := s.copyPart(part); err != nil {
			return err
		}
	}
	return nil
}

func (s *Spool) copyPart(marks []markOf) error {
	var meta []byte
	for _, p := range marks {
		meta = journal.AppendMark(meta, p.m)
	}
	if len(meta) > maxMeta && len(marks) > fewMarks {
		return errors.Join(s.copyPart(marks[:len(marks)/2]), s.copyPart(marks[len(marks)/2:]))
	}
	it := newItem(journal.TypeMarks, 1, meta)
	it.durable = func(seg *segment, _ journal.Record) []Event {
		for _, p := range marks {
			s.moveMark(p, seg)
		}
		return nil
	}
	return s.append(it)
}

func (s *Spool) moveMark(p markOf, seg *segment) {
	if p.e == nil {
		s.learn(p.m, seg)
		return
	}
	for i := range p.e.marks {
		if p.e.marks[i].Event == p.m.Event {
			p.e.marks[i].seg = seg
			seg.marked = append(seg.marked, p.e)
			return
		}
	}
	s.apply(p.e, p.m, seg)
}

// forget drops entries whose receipts the archive has.
func (s *Spool) forget(seg *segment, leaving []*entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range leaving {
		delete(s.entries, e.Seq)
		if s.files[e.file] == e {
			delete(s.files, e.file)
		}
		s.unlink(e)
	}
	s.losses = slices.DeleteFunc(s.losses, func(l lossRef) bool { return s.entries[l.seq] == nil })
	for seq, marks := range s.learnt {
		if marks = slices.DeleteFunc(marks, func(m markAt) bool { return m.seg == seg }); len(marks) == 0 {
			delete(s.learnt, seq)
		} else {
			s.learnt[seq] = marks
		}
	}
	s.segments = slices.DeleteFunc(s.segments, func(o *segment) bool { return o == seg })
	s.counters.freed++
}

// unlink takes e out of the chain of its name.
func (s *Spool) unlink(e *entry) {
	if e.nameless {
		return
	}
	if e.older != nil {
		e.older.newer = e.newer
	}
	switch {
	case e.newer != nil:
		e.newer.older = e.older
	case e.older != nil:
		s.names[e.file.Name] = e.older
	default:
		delete(s.names, e.file.Name)
	}
}

// retire gives an emptied segment a new generation and returns it as it then
// is, or removes it and returns nil.
func (s *Spool) retire(seg *segment) (free *segment, err error) {
	if s.reusable(seg) {
		if free, err = seg.release(); err == nil {
			return free, nil
		}
		seg.broken = true
		s.log.Error("segment not recycled", "segment", seg.name, "err", err)
	}
	return nil, s.removeSegment(seg)
}

func (s *Spool) reusable(seg *segment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.o.Recycle && !seg.broken && !seg.gone && seg.header.Capacity == s.o.SegmentBytes &&
		len(s.spares)+len(s.surplus)+s.upkeep.making < max(s.o.Spares, s.upkeep.spares)
}

// recycle makes a freed segment a spare, or one that stock makes a spare.
func (s *Spool) recycle(free *segment) {
	if free == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if free.size < free.header.Capacity {
		s.surplus = append(s.surplus, free)
		s.upkeep.wanted = true
		return
	}
	s.spares = append(s.spares, free)
	s.idle.Broadcast()
}

// removeSegment removes a segment's file, durably: until then a power cut would
// bring it back. It may be tried again.
func (s *Spool) removeSegment(seg *segment) error {
	if !seg.gone {
		seg.file.Close() // it has been synced, or is not trusted anyway
		seg.gone = true
	}
	err := s.disk.Remove(seg.name)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = s.disk.SyncDir(segmentDir)
	}
	if err != nil {
		return fmt.Errorf("remove segment: %w", err)
	}
	return nil
}
