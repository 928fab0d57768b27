package spool

import (
	"cmp"
	"errors"
	"iter"
	"slices"

	"inventorybeacon/uploads/spool/receipts"
	"inventorybeacon/uploads/spool/register"
)

// Events returns everything the journal and the receipts know with a Seq above
// after, in the order of Seq. It may run while uploads go on, and tells nothing
// that came after it began. It takes 16 bytes of memory for each event of an upload
// whose record is on disk, and until it ends the segments that there were when it
// began are not freed.
func (s *Spool) Events(after uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		live := s.reviewEvents(after) // first: a file whose segment is just being freed is then in both
		defer live.end()
		for e, err := range s.archive.Events(after) {
			if err != nil {
				yield(Event{Seq: e.Seq}, err)
				return
			}
			if e.Seq > live.upTo {
				break
			}
			if !live.tell(e.Seq, yield) || !yield(archivedEvent(e), nil) {
				return
			}
		}
		live.tell(live.upTo+1, yield)
	}
}

// A review goes through the events of uploads whose records are on disk.
type review struct {
	spool  *Spool
	upTo   uint64 // the last event there was when it began
	events []eventRef
	pinned []*segment
	marks  markReader
}

// An eventRef says of which upload an event is; of the same number, it is that
// it was accepted.
type eventRef struct{ event, seq uint64 }

func (s *Spool) reviewEvents(after uint64) *review {
	r := &review{spool: s}
	s.mu.Lock()
	r.upTo = s.mark
	for _, seg := range s.segments {
		seg.readers++
		r.pinned = append(r.pinned, seg)
	}
	r.learnt(after)
	s.mu.Unlock()
	for next, n := uint64(0), scanAtOnce; n == scanAtOnce; {
		n = 0
		s.mu.Lock()
		for _, e := range s.register.From(next) {
			if n == scanAtOnce {
				break
			}
			n++
			next = e.Seq + 1
			r.entry(e, after)
		}
		s.mu.Unlock()
	}
	slices.SortFunc(r.events, func(a, b eventRef) int { return cmp.Compare(a.event, b.event) })
	r.events = slices.Compact(r.events)
	return r
}

func (r *review) entry(e *entry, after uint64) {
	if e.Seq > after && e.Seq <= r.upTo && !e.Is(register.Nameless) {
		r.events = append(r.events, eventRef{e.Seq, e.Seq})
	}
	r.list(e.Seq, e.Marks, after)
}

func (r *review) list(seq uint64, marks uint32, after uint64) {
	for m := range r.spool.marks.List(marks) {
		if m.Event > after && m.Event <= r.upTo {
			r.events = append(r.events, eventRef{m.Event, seq})
		}
	}
}

func (r *review) learnt(after uint64) {
	for seq, first := range r.spool.learnt {
		r.list(seq, first, after)
	}
}

// tell yields the events with numbers below one that is told by somebody else,
// and passes over that.
func (r *review) tell(below uint64, yield func(Event, error) bool) bool {
	for len(r.events) > 0 && r.events[0].event <= below {
		ref := r.events[0]
		r.events = r.events[1:]
		if ref.event == below {
			continue
		}
		e, err := r.read(ref)
		if errors.Is(err, errForgotten) {
			continue
		}
		if !yield(e, err) {
			return false
		}
	}
	return true
}

func (r *review) end() {
	r.spool.mu.Lock()
	defer r.spool.mu.Unlock()
	for _, seg := range r.pinned {
		r.spool.unpin(seg)
	}
}

// read reads an event. Of an upload whose record is gone, or that the disk did
// not keep, the number is told alone.
func (r *review) read(ref eventRef) (Event, error) {
	s := r.spool
	u := s.uploadOf(ref.seq)
	if ref.event == ref.seq {
		switch {
		case u.Kind != "":
			return acceptedEvent(u), nil
		case s.isLost(ref.seq):
			return Event{}, errForgotten
		}
		return Event{Seq: ref.event}, errUnreadable
	}
	at := s.locateEvent(ref)
	defer s.letGo(at)
	if len(at.marks) == 0 {
		return Event{Seq: ref.event}, errUnreadable
	}
	m, err := r.marks.read(at.marks[0])
	if err != nil {
		return Event{Seq: ref.event}, err
	}
	if id, ok := fileOf(m.File); ok && u.Kind == "" {
		if e, err := s.archive.FindExact(id); err == nil && e != nil && e.Upload.Seq == ref.seq {
			u = &e.Upload
		}
	}
	return eventOf(u, m), nil
}

// errForgotten means that nothing is known any longer of what was lost to
// damage; the loss is told.
var errForgotten = errors.New("lost to damage")

func (s *Spool) isLost(seq uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, e := s.register.Find(seq)
	return e != nil && e.Is(register.Lost)
}

// locateEvent keeps the mark of an event where it is; it may have been copied
// since the review began.
func (s *Spool) locateEvent(ref eventRef) *located {
	s.mu.Lock()
	defer s.mu.Unlock()
	lists := []uint32{s.learnt[ref.seq]}
	if _, e := s.register.Find(ref.seq); e != nil {
		lists = append(lists, e.Marks)
	}
	l := &located{seq: ref.seq}
	for _, first := range lists {
		for m := range s.marks.List(first) {
			if m.Event != ref.event {
				continue
			}
			if at, ok := s.locateMark(m); ok {
				l.marks = append(l.marks, at)
			}
		}
	}
	return l
}

func archivedEvent(e receipts.Event) Event {
	if e.Mark != nil {
		return eventOf(&e.Entry.Upload, e.Mark)
	}
	return acceptedEvent(&e.Entry.Upload)
}
