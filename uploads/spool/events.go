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
// that came after it began. It takes 32 bytes of memory for each event.
func (s *Spool) Events(after uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for _, ref := range s.archivedEvents(after, s.liveEvents(after)) {
			e, err := s.eventAt(ref)
			if !yield(e, err) {
				return
			}
		}
	}
}

// An eventRef says where an event is: in an entry, or in the archive.
type eventRef struct {
	seq  uint64
	e    *entry
	mark *journal.Mark // of e; nil if the event is that e was accepted
	at   uint32        // in the archive, if e is nil
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
	return refs
}

// archivedEvents adds those of the archive and sorts all.
func (s *Spool) archivedEvents(after uint64, refs []eventRef) []eventRef {
	for at, e := range s.archive.All() {
		if e.Upload.Seq > after && !e.Upload.Name.IsZero() {
			refs = append(refs, eventRef{seq: e.Upload.Seq, at: at})
		}
		for _, m := range e.Marks {
			if m.Event > after {
				refs = append(refs, eventRef{seq: m.Event, at: at})
			}
		}
	}
	slices.SortFunc(refs, func(a, b eventRef) int { return cmp.Compare(a.seq, b.seq) })
	// A file whose segment is just being freed, or was when a run ended, is in both,
	// or in the archive twice.
	return slices.CompactFunc(refs, func(a, b eventRef) bool { return a.seq == b.seq })
}

func (s *Spool) eventAt(ref eventRef) (Event, error) {
	switch {
	case ref.mark != nil:
		return eventOf(&ref.e.Upload, ref.mark), nil
	case ref.e != nil:
		return acceptedEvent(&ref.e.Upload), nil
	}
	e, err := s.archive.At(ref.at)
	if err != nil {
		return Event{Seq: ref.seq}, err
	}
	return archivedEvent(e, ref.seq), nil
}

func archivedEvent(e *receipts.Entry, seq uint64) Event {
	for _, m := range e.Marks {
		if m.Event == seq {
			return eventOf(&e.Upload, m)
		}
	}
	return acceptedEvent(&e.Upload)
}
