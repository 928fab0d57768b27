package spool

import (
	"cmp"
	"iter"
	"slices"

	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/receipts"
)

// Events returns everything the journal and the receipts know with a Seq above
// after, in the order of Seq. It may run while uploads go on, and tells nothing
// that came after it began. It takes 32 bytes of memory for each event of an
// upload whose record is on disk.
func (s *Spool) Events(after uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		live := s.liveEvents(after) // first: a file whose segment is just being freed is then in both
		for e, err := range s.archive.Events(after) {
			if err != nil {
				yield(Event{Seq: e.Seq}, err)
				return
			}
			for len(live) > 0 && live[0].seq <= e.Seq {
				ref := live[0]
				live = live[1:]
				if ref.seq < e.Seq && !yield(ref.event(), nil) {
					return
				}
			}
			if !yield(archivedEvent(e), nil) {
				return
			}
		}
		for _, ref := range live {
			if !yield(ref.event(), nil) {
				return
			}
		}
	}
}

// An eventRef says where an event of an entry is.
type eventRef struct {
	seq  uint64
	e    *entry
	mark *journal.Mark // nil if the event is that e was accepted
}

func (s *Spool) liveEvents(after uint64) (refs []eventRef) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if e.Seq > after && !e.nameless {
			refs = append(refs, eventRef{seq: e.Seq, e: e})
		}
		for _, m := range e.marks {
			if m.Event > after {
				refs = append(refs, eventRef{seq: m.Event, e: e, mark: m.Mark})
			}
		}
	}
	for seq, marks := range s.learnt {
		gone := &entry{}
		gone.Seq = seq
		for _, m := range marks {
			if m.Event > after {
				refs = append(refs, eventRef{seq: m.Event, e: gone, mark: m.Mark})
			}
		}
	}
	slices.SortFunc(refs, func(a, b eventRef) int { return cmp.Compare(a.seq, b.seq) })
	return refs
}

func (r eventRef) event() Event {
	if r.mark != nil {
		return eventOf(&r.e.Upload, r.mark)
	}
	return acceptedEvent(&r.e.Upload)
}

func archivedEvent(e receipts.Event) Event {
	if e.Mark != nil {
		return eventOf(&e.Entry.Upload, e.Mark)
	}
	return acceptedEvent(&e.Entry.Upload)
}
