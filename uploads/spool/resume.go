package spool

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"inventorybeacon/uploads/spool/journal"
)

// resume goes on writing behind a clean end.
func (r *replayer) resume() {
	s := r.spool
	if len(s.segments) == 0 || len(s.cuts) > 0 {
		return
	}
	seg := s.segments[len(s.segments)-1]
	if seg.next < s.next {
		// The receipts know of more: what followed was freed, and its numbers are
		// neither missing from here nor to be used again.
		s.lastGeneration = 0
		return
	}
	if seg.sealed || seg.broken || seg.header.Version < journal.Version {
		return
	}
	for _, l := range r.verdict.Lost {
		if l.Generation == seg.header.Generation {
			return // its index would have to leave out a place that is in use
		}
	}
	// The last run may have died between writing its end and syncing it.
	if err := seg.file.Sync(); err != nil {
		s.log.Error("journal segment failed", "segment", seg.name, "err", err)
		seg.broken = true
		s.cuts = append(s.cuts, journal.Cut{Generation: seg.header.Generation, First: r.verdict.Mark + 1})
		return
	}
	seg.full = false
	s.active, s.mark = seg, s.next-1
}

// write records what the replay decided. The copies of tails are durable
// before the cuts that take their originals out of the journal, since a tail
// may hold what was acknowledged last; and until the cuts are durable, too, no
// record says that the numbers in them are.
func (r *replayer) write(lost []found) error {
	s := r.spool
	if err := r.copyTails(); err != nil {
		return err
	}
	if len(s.cuts) > 0 {
		s.mu.Lock()
		err := s.recordCuts()
		s.mu.Unlock()
		if err == nil {
			err = s.sync()
		}
		if err != nil {
			return fmt.Errorf("record cut: %w", err)
		}
	}
	s.mu.Lock()
	s.mark, s.replaying = s.next-1, false
	s.mu.Unlock()
	if err := r.writeLosses(lost); err != nil {
		return err
	}
	return r.dismiss()
}

func (r *replayer) copyTails() error {
	s := r.spool
	if len(s.cuts) == 0 {
		return s.copyMarks(r.unsaid)
	}
	s.mu.Lock()
	err := s.turn()
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("begin segment: %w", err)
	}
	for _, seq := range slices.Sorted(maps.Keys(r.tail)) {
		if err := r.copyTail(seq); err != nil {
			return err
		}
	}
	var marks []markOf
	for _, n := range r.marks {
		marks = append(marks, n.markOf())
	}
	return s.copyMarks(append(marks, r.unsaid...))
}

// copyTail copies an upload whose only record is in a tail, also if it left: its
// receipt is made of the record.
func (r *replayer) copyTail(seq uint64) error {
	s := r.spool
	s.mu.Lock()
	_, e := s.register.Find(seq)
	l, _ := s.locate(e)
	s.mu.Unlock()
	return s.copyUpload(l)
}

func (r *replayer) writeLosses(lost []found) error {
	s := r.spool
	for _, f := range lost {
		m := &journal.Mark{Seq: f.seq, At: now(), Reason: LossDamaged, Detail: "the disk did not keep it", Left: true}
		if f.nameless {
			m.Through = f.through
			m.Detail = fmt.Sprintf("records %d to %d are unreadable", m.Seq, m.Through)
		}
		u := s.uploadOf(f.seq)
		if err := s.note([]*journal.Mark{m}); err != nil {
			return err
		}
		s.recovery.Lost = append(s.recovery.Lost, eventOf(u, m))
		s.log.Error("acknowledged upload lost", "seq", f.seq, "name", u.Name.String(), "sha256", u.Digest.String(), "detail", m.Detail)
	}
	s.recovery.Pending = s.held.count
	return nil
}

// sync waits until everything written so far is durable.
func (s *Spool) sync() error {
	s.mu.Lock()
	g := s.group
	s.mu.Unlock()
	if g == nil {
		return nil
	}
	return s.await(g)
}

func (s *Spool) sortSegments() {
	slices.SortFunc(s.segments, func(a, b *segment) int {
		return cmp.Compare(a.header.Base, b.header.Base)
	})
	if n := len(s.segments); n > 0 {
		s.lastGeneration = s.segments[n-1].header.Generation
	}
}
