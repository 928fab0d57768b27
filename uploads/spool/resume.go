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
func (r *replayer) write(lost []*entry) error {
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
	return s.lose(r.unwanted, LossRefused, "refused by a destination; the others are not configured any longer")
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
		if e := r.entries[seq]; e != nil {
			if err := s.copyUpload(e); err != nil {
				return err
			}
		}
	}
	var marks []markOf
	for _, m := range r.marks {
		if e := r.entries[m.Seq]; e != nil || m.Sort == journal.Learnt {
			marks = append(marks, markOf{e, m.Mark})
		}
	}
	return s.copyMarks(append(marks, r.unsaid...))
}

func (r *replayer) writeLosses(lost []*entry) error {
	s := r.spool
	for _, e := range lost {
		m := &journal.Mark{Seq: e.Seq, At: now(), Reason: LossDamaged, Detail: "the disk did not keep it", Left: true}
		if e.nameless {
			m.Through = e.Seq + uint64(e.rec.Count) - 1
			m.Detail = fmt.Sprintf("records %d to %d are unreadable", m.Seq, m.Through)
		}
		if err := s.note([]*journal.Mark{m}); err != nil {
			return err
		}
		s.recovery.Lost = append(s.recovery.Lost, eventOf(&e.Upload, m))
		s.log.Error("acknowledged upload lost", "seq", e.Seq, "name", e.Name.String(), "sha256", e.Digest.String(), "detail", m.Detail)
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
