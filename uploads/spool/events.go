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
// that came after it began. It takes 16 bytes of memory for each event.
func (s *Spool) Events(after uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		live, known := s.liveEvents(after)
		for _, at := range s.archivedEvents(after, known, live) {
			e, err := s.eventAt(at, live)
			if !yield(e, err) {
				return
			}
		}
	}
}

// An eventRef says where an event is: in a list of live ones, or in the archive.
type eventRef struct {
	seq uint64
	at  uint32
	// live says that at is an index of the live ones.
	live bool
}

func (s *Spool) liveEvents(after uint64) (events []Event, known map[uint64]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known = make(map[uint64]bool, len(s.entries))
	for _, e := range s.entries {
		known[e.Seq] = true
		if e.Seq > after && !e.nameless {
			events = append(events, acceptedEvent(&e.Upload))
		}
		for i, m := range e.marks {
			if m.Event > after {
				events = append(events, eventOf(&e.Upload, m.Mark, e.left && i == len(e.marks)-1))
			}
		}
	}
	return events, known
}

func (s *Spool) archivedEvents(after uint64, known map[uint64]bool, live []Event) []eventRef {
	refs := make([]eventRef, 0, len(live))
	for i, e := range live {
		refs = append(refs, eventRef{e.Seq, uint32(i), true})
	}
	for at, e := range s.archive.All() {
		if known[e.Upload.Seq] {
			continue // it is among the live ones, or was a moment ago
		}
		if e.Upload.Seq > after && !e.Upload.Name.IsZero() {
			refs = append(refs, eventRef{e.Upload.Seq, at, false})
		}
		for _, m := range e.Marks {
			if m.Event > after {
				refs = append(refs, eventRef{m.Event, at, false})
			}
		}
	}
	slices.SortFunc(refs, func(a, b eventRef) int { return cmp.Compare(a.seq, b.seq) })
	// A run that was cut short may have written a receipt twice.
	return slices.CompactFunc(refs, func(a, b eventRef) bool { return a.seq == b.seq })
}

func (s *Spool) eventAt(ref eventRef, live []Event) (Event, error) {
	if ref.live {
		return live[ref.at], nil
	}
	e, err := s.archive.At(ref.at)
	if err != nil {
		return Event{Seq: ref.seq}, err
	}
	return archivedEvent(e, ref.seq), nil
}

func archivedEvent(e *receipts.Entry, seq uint64) Event {
	i := slices.IndexFunc(e.Marks, func(m *journal.Mark) bool { return m.Event == seq })
	if i < 0 {
		return acceptedEvent(&e.Upload)
	}
	return eventOf(&e.Upload, e.Marks[i], i == len(e.Marks)-1)
}
