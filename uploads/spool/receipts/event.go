package receipts

import (
	"cmp"
	"errors"
	"io"
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

// windowEvents is how many events are held in memory at once, with twice as many
// meanwhile: some 100 MB in all. Fewer make the files be read more often: each
// is read once for every so many events that lie between its first and its last.
const windowEvents = 128 << 10

// Events yields everything known with a number above after, in the order of the
// numbers, each once. It tells nothing that was appended after it began. After
// damage only the marks of an upload may be known.
func (a *Archive) Events(after uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		v := a.look()
		defer a.leave(v)
		w, files := window{limit: a.o.windowEvents, end: v.last()}, v.tellers()
		for after < w.end {
			if err := w.read(files, after); err != nil {
				yield(Event{}, err)
				return
			}
			for _, ref := range w.refs {
				if e, ok := ref.event(); ok && !yield(e, nil) {
					return
				}
			}
			if len(w.refs) < w.limit {
				return
			}
			after = w.refs[len(w.refs)-1].seq
		}
	}
}

// last is the highest event number in it.
func (v *view) last() (last uint64) {
	for _, l := range v.logs {
		last = max(last, l.highest())
	}
	for _, r := range v.runs {
		last = max(last, r.Last)
	}
	return last
}

// A window is the events with the next numbers.
type window struct {
	limit int
	end   uint64 // what is above came later
	bound uint64 // what is above comes in a later window
	refs  []eventRef
}

// An eventRef is an event whose receipt is not yet read.
type eventRef struct {
	seq    uint64
	order  int // of the file: what a newer one says counts
	record *record
}

// A told is a file that tells of events from first to last.
type told struct {
	first, last uint64
	order       int // 0 is the newest
	read        func(w *window, after uint64, order int) error
}

// tellers lists the files, those with the lowest numbers first, so that a window
// is narrow before the others are looked at.
func (v *view) tellers() (out []told) {
	for _, l := range slices.Backward(v.logs) {
		first, last := l.numbers()
		out = append(out, told{first, last, len(out), l.tell})
	}
	for _, r := range slices.Backward(v.runs) {
		out = append(out, told{r.First, r.Last, len(out), r.tell})
	}
	slices.SortStableFunc(out, func(a, b told) int { return cmp.Compare(a.first, b.first) })
	return out
}

// read finds the first events after a number.
func (w *window) read(files []told, after uint64) error {
	w.refs, w.bound = w.refs[:0], w.end
	for _, f := range files {
		if f.last <= after || f.first > w.bound {
			continue
		}
		if err := f.read(w, after, f.order); err != nil {
			return err
		}
	}
	w.settle()
	return nil
}

func (l *log) tell(w *window, after uint64, order int) error {
	l.all(func(raw entry, _ uint32) bool {
		if e, err := raw.decode(); err == nil && e.last() > after && e.Upload.Seq <= w.bound {
			r := recordOf(e)
			w.add(&r, e.Marks, after, order)
		}
		return true
	})
	return nil
}

func (r *run) tell(w *window, after uint64, order int) error {
	for s := r.scan(); ; {
		_, records, _, err := s.block()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for i := range records {
			if records[i].last > after && records[i].seq <= w.bound {
				w.offer(&records[i], after, order)
			}
		}
	}
}

// offer adds a record without keeping the rest of its block.
func (w *window) offer(of *record, after uint64, order int) {
	marks, err := journal.DecodeMarks(of.marks, 0)
	if err != nil {
		return // sound bytes that say nothing: not written by this program
	}
	r := *of
	r.meta, r.marks = slices.Clone(of.meta), slices.Clone(of.marks)
	w.add(&r, marks, after, order)
}

func (w *window) add(r *record, marks []*journal.Mark, after uint64, order int) {
	if r.seq > after && r.flags&recordNameless == 0 {
		w.refs = append(w.refs, eventRef{r.seq, order, r})
	}
	for _, m := range marks {
		if m.Event > after && m.Event <= w.bound {
			w.refs = append(w.refs, eventRef{m.Event, order, r})
		}
	}
	if len(w.refs) >= 2*w.limit {
		w.settle()
	}
}

// settle keeps the events with the lowest numbers.
func (w *window) settle() {
	slices.SortFunc(w.refs, func(a, b eventRef) int {
		return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.order, b.order))
	})
	w.refs = slices.CompactFunc(w.refs, func(a, b eventRef) bool { return a.seq == b.seq })
	if len(w.refs) >= w.limit {
		w.refs = w.refs[:w.limit]
		w.bound = w.refs[w.limit-1].seq
	}
}

func (r eventRef) event() (e Event, ok bool) {
	entry, err := r.record.entry()
	if err != nil {
		return e, false
	}
	return entry.event(r.seq), true
}

// event returns the event with a number that is one of its own.
func (e *Entry) event(seq uint64) Event {
	for _, m := range e.Marks {
		if m.Event == seq {
			return Event{seq, e, m}
		}
	}
	return Event{Seq: seq, Entry: e}
}
