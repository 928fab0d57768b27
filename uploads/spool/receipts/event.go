package receipts

import (
	"cmp"
	"iter"
	"slices"

	"inventorybeacon/uploads/spool/journal"
)

// An Event is one fact about an upload that left: that it was accepted, or what
// a mark says of it.
type Event struct {
	Seq   uint64
	Entry *Entry
	Mark  *journal.Mark // nil: it was accepted
}

// Events yields everything known with a number above after, in the order of the
// numbers, each once. It tells nothing that was appended after it began. After
// damage only the marks of an upload may be known.
func (l *Log) Events(after uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for _, e := range l.events(after) {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Losses returns the first events with a number above after that are losses, at
// most limit, in the order of their numbers.
func (l *Log) Losses(after uint64, limit int) ([]Event, error) {
	all := slices.DeleteFunc(l.events(after), func(e Event) bool { return e.Mark == nil || !e.Mark.Lost() })
	return all[:min(limit, len(all))], nil
}

func (l *Log) events(after uint64) (all []Event) {
	for _, e := range l.All() {
		if e.Upload.Seq > after && !e.Upload.Name.IsZero() {
			all = append(all, Event{Seq: e.Upload.Seq, Entry: e})
		}
		for _, m := range e.Marks {
			if m.Event > after {
				all = append(all, Event{Seq: m.Event, Entry: e, Mark: m})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Event) int { return cmp.Compare(a.Seq, b.Seq) })
	return slices.CompactFunc(all, func(a, b Event) bool { return a.Seq == b.Seq })
}
