package spool

import (
	"errors"
	"slices"

	"inventorybeacon/uploads/spool/journal"
)

// turn replaces the active segment by a fresh one. s.mu is held on entry and
// return, but not while a segment is made.
func (s *Spool) turn() error {
	if s.turning != nil {
		wait := s.turning
		s.mu.Unlock()
		<-wait
		s.mu.Lock()
		return nil
	}
	s.turning = make(chan struct{})
	defer func() {
		close(s.turning)
		s.turning = nil
	}()
	fresh, err := s.fresh()
	if err != nil {
		return roomError(err)
	}
	return s.install(fresh)
}

// fresh takes a spare, or makes a segment that grows as it is written.
func (s *Spool) fresh() (*segment, error) {
	if n := len(s.spares); n > 0 {
		seg := s.spares[n-1]
		s.spares = s.spares[:n-1]
		s.kick()
		return seg, nil
	}
	if seg := s.takeSurplus(); seg != nil {
		return seg, nil
	}
	number := s.nextFile
	s.nextFile++
	s.mu.Unlock()
	defer s.mu.Lock()
	return makeSegment(s.disk, number, s.o.SegmentBytes, false, nil)
}

// takeSurplus takes a free segment that was to be filled first.
func (s *Spool) takeSurplus() *segment {
	i := slices.IndexFunc(s.surplus, func(seg *segment) bool { return seg.header.Capacity == s.o.SegmentBytes })
	if i < 0 {
		return nil
	}
	seg := s.surplus[i]
	s.surplus = slices.Delete(s.surplus, i, i+1)
	return seg
}

// install makes a free segment the active one. Cuts that are still to be
// recorded are its first records.
func (s *Spool) install(seg *segment) error {
	s.closeGroup()
	if s.active != nil {
		s.active.full = true
	}
	if err := seg.activate(s.next, s.lastGeneration); err != nil {
		seg.broken, seg.full = true, true
		s.enlist(seg) // the upkeep removes it
		s.kick()
		return roomError(err)
	}
	s.lastGeneration = seg.header.Generation
	s.active = seg
	// A spool that takes little keeps few spares: one for each segment begun.
	if s.upkeep.spares < s.o.Spares {
		s.upkeep.spares++
	}
	s.enlist(seg)
	s.kick()
	if s.replaying {
		return nil // the tails come first
	}
	return s.recordCuts()
}

// recordCuts writes the cuts that every later acknowledgement depends on.
// They share the next group, and so its sync.
func (s *Spool) recordCuts() error {
	for len(s.cuts) > 0 {
		c := s.cuts[0]
		if !slices.ContainsFunc(s.segments, func(o *segment) bool { return o.header.Generation == c.Generation }) {
			s.cuts = s.cuts[1:] // it was removed meanwhile
			continue
		}
		it := newItem(journal.TypeCut, 1, journal.AppendCut(nil, c))
		it.durable = func(seg *segment, _ journal.Record) []Event {
			seg.cuts = append(seg.cuts, c)
			return nil
		}
		if !s.active.place(&it.rec, s.group == nil) {
			if !s.replaying {
				return errors.New("segment too small for its cuts")
			}
			if err := s.turn(); err != nil { // the copies of tails left no room
				return err
			}
			continue
		}
		g := s.enroll(it)
		if err := s.write(s.active, it); err != nil {
			// Not recorded: nothing may follow in this segment. Of the group, which is of
			// cuts alone, nobody waits for the end.
			s.group, s.active = nil, nil
			s.condemn(g)
			return err
		}
		s.wrote(g, nil)
		s.cuts = s.cuts[1:]
	}
	return nil
}
