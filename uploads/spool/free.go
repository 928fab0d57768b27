package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/register"
	"inventorybeacon/uploads/spool/sabotage"
)

// freeSegments frees, oldest first, what holds nothing any longer.
func (s *Spool) freeSegments() {
	for _, seg := range s.pick(func(seg *segment) bool {
		seg.awaited = seg.live == 0 && seg.readers > 0
		return seg.live == 0 && seg.readers == 0
	}) {
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
	c, ok := s.contents(seg)
	if !ok {
		return nil // an older segment has to go first
	}
	if sabotage.RecycleNeededMarks {
		c.marks = nil
	}
	if !seg.emptied {
		if err := s.empty(seg, c); err != nil {
			s.mu.Lock()
			seg.leaving = false
			s.mu.Unlock()
			return err
		}
		seg.emptied = true
	}
	if !s.close(seg) {
		return nil // tried again once nobody reads from it
	}
	free, err := s.retire(seg)
	if err != nil {
		s.mu.Lock()
		seg.closing = false
		s.mu.Unlock()
		return err
	}
	s.forget(seg, c)
	s.recycle(free)
	return nil
}

// empty sees to it that everything in a segment is elsewhere, durably.
func (s *Spool) empty(seg *segment, c *contents) error {
	if err := s.archiveLeaving(c.leaving); err != nil {
		return err
	}
	if err := s.archiveLearnt(c.learnt); err != nil {
		return err
	}
	if err := s.copyMarks(c.marks); err != nil {
		return fmt.Errorf("copy marks: %w", err)
	}
	for _, cut := range c.cuts {
		if err := s.record(func() *item { return cutItem(cut) }); err != nil {
			return fmt.Errorf("copy cut: %w", err)
		}
	}
	return nil
}

// close keeps readers out of a segment; it is false if there are some.
func (s *Spool) close(seg *segment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.awaited = seg.readers > 0
	seg.closing = !seg.awaited
	return seg.closing
}

// contents is what leaves with a segment, and what in it others need.
type contents struct {
	leaving []uint64 // uploads
	learnt  []uint64 // of which something was learnt, and which are in the archive
	marks   []markOf
	cuts    []journal.Cut
}

// A markOf is a mark of an upload. If left is set, it is to say from now on that
// the file left.
type markOf struct {
	seq uint64
	markAt
	left bool
}

// contents looks at every entry, a part at a time: nothing is added to a full
// segment, and nobody else takes anything out of it.
func (s *Spool) contents(seg *segment) (c *contents, ok bool) {
	s.mu.Lock()
	c, ok = &contents{}, s.learntIn(seg, nil)
	seg.leaving = ok
	s.mu.Unlock()
	s.within(seg, func(_ register.Ref, e *entry) {
		if e.Segment == seg.id {
			c.leaving = append(c.leaving, e.Seq)
			// The other record of a copied upload would come to life again.
			if slices.ContainsFunc(s.stale[e.Seq], func(o *segment) bool { return slices.Contains(s.segments, o) }) {
				ok = false
			}
			return
		}
		for m := range s.marks.List(e.Marks) {
			if m.Segment == seg.id {
				c.marks = append(c.marks, markOf{seq: e.Seq, markAt: markAt{m.Event, spot{seg, int64(m.Block) * journal.Block}}})
			}
		}
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.leaving = ok
	s.learntIn(seg, c)
	for _, cut := range seg.cuts {
		if slices.ContainsFunc(s.segments, func(o *segment) bool { return o != seg && o.header.Generation == cut.Generation }) {
			c.cuts = append(c.cuts, cut)
		}
	}
	return c, ok
}

// learntIn adds to c the uploads of which something was learnt in a segment; it
// is false if the record of one is still there, whose own segment has to go first:
// as long as it is read, what was learnt is not looked for in the archive.
func (s *Spool) learntIn(seg *segment, c *contents) bool {
	for seq, first := range s.learnt {
		inIt := false
		for m := range s.marks.List(first) {
			inIt = inIt || m.Segment == seg.id
		}
		if !inIt {
			continue
		}
		if _, e := s.register.Find(seq); e != nil && e.Segment != seg.id {
			return false
		} else if e == nil && c != nil {
			c.learnt = append(c.learnt, seq)
		}
	}
	return true
}

func cutItem(c journal.Cut) *item {
	it := newItem(journal.TypeCut, 1, journal.AppendCut(nil, c))
	it.durable = func(seg *segment, _ journal.Record) []Event {
		seg.cuts = append(seg.cuts, c)
		return nil
	}
	return it
}

// copyMarks records marks again, under the numbers they had. What the disk did not
// keep of one must not hold its segment for ever: others say what it did.
func (s *Spool) copyMarks(marks []markOf) error {
	var r markReader
	for part := range slices.Chunk(marks, marksPerRecord) {
		var read []*journal.Mark
		for _, m := range part {
			mark, err := r.read(m.markAt)
			if isDamage(err) {
				mark, err = s.rebuilt(m)
			}
			if err != nil {
				return err
			}
			mark.Left = mark.Left || m.left
			read = append(read, mark)
		}
		if err := s.copyPart(part, read); err != nil {
			return err
		}
	}
	return nil
}

func (s *Spool) copyPart(marks []markOf, read []*journal.Mark) error {
	meta := appendMarks(read)
	if half := len(marks) / 2; len(meta) > maxMeta && len(marks) > fewMarks {
		return errors.Join(s.copyPart(marks[:half], read[:half]), s.copyPart(marks[half:], read[half:]))
	}
	return s.record(func() *item {
		it := newItem(journal.TypeMarks, 1, meta)
		it.durable = func(seg *segment, r journal.Record) []Event {
			for _, m := range read {
				s.moveMark(m, seg, r.Offset)
			}
			return nil
		}
		return it
	})
}

// moveMark takes note of where a copy of a mark is. Of marks that only now turn
// out to be durable it is the first.
func (s *Spool) moveMark(m *journal.Mark, seg *segment, offset int64) {
	first := s.learnt[m.Seq]
	_, e := s.register.Find(m.Seq)
	if e != nil {
		first = e.Marks
	}
	for k := range s.marks.List(first) {
		if k.Event == m.Event {
			k.Segment, k.Block = seg.id, uint32(offset/journal.Block)
			seg.cover(m.Seq)
			return
		}
	}
	if e != nil && !isHeld(e) {
		s.noteAt(e, m.Event, seg, offset)
		return
	}
	s.apply(m, seg, offset)
}

// forget drops entries whose receipts the archive has.
func (s *Spool) forget(seg *segment, c *contents) {
	lost := false
	for part := range slices.Chunk(c.leaving, scanAtOnce) {
		s.mu.Lock()
		for _, seq := range part {
			ref, e := s.register.Find(seq)
			lost = lost || e.Is(register.Lost)
			s.marks.Drop(e.Marks)
			delete(s.stale, seq)
			s.register.Remove(ref)
		}
		s.mu.Unlock()
	}
	for part := range slices.Chunk(slices.Concat(c.learnt, c.leaving), scanAtOnce) {
		s.mu.Lock()
		for _, seq := range part {
			s.forgetLearnt(seq, seg)
		}
		s.mu.Unlock()
	}
	if lost {
		s.forgetLosses()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segments = slices.DeleteFunc(s.segments, func(o *segment) bool { return o == seg })
	s.byID[seg.id] = nil
	s.counters.freed++
}

// forgetLosses drops losses of entries that are gone, a part at a time.
func (s *Spool) forgetLosses() {
	for after, more := uint64(0), true; more; {
		s.mu.Lock()
		after, more = s.forgetSomeLosses(after)
		s.mu.Unlock()
	}
}

// forgetSomeLosses looks at some events behind a number. It returns where to go
// on, and whether there are more.
func (s *Spool) forgetSomeLosses(after uint64) (last uint64, more bool) {
	from, _ := slices.BinarySearchFunc(s.losses, after+1, func(l lossRef, event uint64) int { return cmp.Compare(l.event, event) })
	to := min(from+scanAtOnce, len(s.losses))
	if from == to {
		return after, false
	}
	last, more = s.losses[to-1].event, to < len(s.losses)
	some := slices.DeleteFunc(slices.Clone(s.losses[from:to]), func(l lossRef) bool {
		_, e := s.register.Find(l.seq)
		return e == nil
	})
	if len(some) < to-from {
		s.losses = slices.Replace(s.losses, from, to, some...)
	}
	return last, more
}

// forgetLearnt drops what was learnt in a segment.
func (s *Spool) forgetLearnt(seq uint64, seg *segment) {
	first, ok := s.learnt[seq]
	if !ok {
		return
	}
	kept := uint32(0)
	for m := range s.marks.List(first) {
		if m.Segment != seg.id {
			kept = s.marks.Append(kept, *m)
		}
	}
	s.marks.Drop(first)
	if s.learnt[seq] = kept; kept == 0 {
		delete(s.learnt, seq)
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
