package custody

import (
	"container/heap"
	"time"

	"inventorybeacon/uploads"
)

const (
	// firstGap is how long after a delivery the first question comes. A shorter one
	// mostly hears "not yet"; a longer one is how late a sender learns what took
	// the receiver an instant.
	firstGap = 10 * time.Second
	// lastGap bounds the doubling. A shorter one asks a parent that is cut off from
	// its store more often for nothing; a longer one is how late its news come.
	lastGap = 6 * time.Hour
	// urgentGap is the shortest time between two questions about a file that
	// somebody waits for.
	urgentGap = 5 * time.Second
	// maxAsked is how often one file is asked about before it is given up: with the
	// gaps above, for a week. More waits longer for a parent that is cut off from
	// its store; fewer keeps room for newer files.
	maxAsked = 40
	// spare is the part of the limit, above it, that is kept for urgent files.
	spare = 4
)

// A File is what a question is about.
type File struct {
	Kind   string
	Name   uploads.Name
	Digest uploads.Digest
}

func (f File) id() string { return uploads.ReceiptID(f.Kind, f.Name, f.Digest) }

// Questions are the files of which a higher custody is still to be heard, each
// with the time of its next question. The gaps between the questions about one
// file double. It is not safe for concurrent use.
type Questions struct {
	limit     int
	forgotten uint64
	byID      map[string]*question
	due       dueHeap
}

type question struct {
	File
	asked int       // times
	last  time.Time // asked, or added
	next  time.Time
	index int
	out   bool // between Next and Again or Done
}

// NewQuestions makes an empty list of at most limit files. Each takes about 300
// bytes.
func NewQuestions(limit int) *Questions {
	return &Questions{limit: limit, byID: map[string]*question{}}
}

// Len is how many files there are.
func (q *Questions) Len() int { return len(q.byID) }

// Forgotten is how many files found no room. They are asked about only when
// somebody wants to know.
func (q *Questions) Forgotten() uint64 { return q.forgotten }

// Add puts a file on the list unless it is there or the list is full.
func (q *Questions) Add(f File, now time.Time) { q.add(f, now, now.Add(firstGap), q.limit) }

// Urge is Add for a file that somebody waits for: it is asked about as soon as
// it decently can, and finds room where Add finds none.
func (q *Questions) Urge(f File, now time.Time) {
	e := q.byID[f.id()]
	if e == nil {
		q.add(f, now, now, q.limit+q.limit/spare)
		return
	}
	if soon := e.last.Add(urgentGap); !e.out && soon.Before(e.next) {
		e.next = soon
		heap.Fix(&q.due, e.index)
	}
}

func (q *Questions) add(f File, now, next time.Time, limit int) {
	id := f.id()
	switch {
	case q.byID[id] != nil:
		return
	case len(q.byID) >= limit:
		q.forgotten++
		return
	}
	e := &question{File: f, last: now, next: next}
	q.byID[id] = e
	heap.Push(&q.due, e)
}

// Next takes the file that is due longest, if one is. Its asker calls Again or
// Done.
func (q *Questions) Next(now time.Time) (File, bool) {
	if len(q.due) == 0 || q.due[0].next.After(now) {
		return File{}, false
	}
	e := heap.Pop(&q.due).(*question)
	e.out = true
	return e.File, true
}

// Due is when Next next has a file, if ever.
func (q *Questions) Due() (time.Time, bool) {
	if len(q.due) == 0 {
		return time.Time{}, false
	}
	return q.due[0].next, true
}

// Again puts a file back whose answer left something to hear, or gave nothing,
// unless it was asked about too often.
func (q *Questions) Again(f File, now time.Time) {
	e := q.byID[f.id()]
	if e == nil || !e.out {
		return
	}
	e.last, e.next = now, now.Add(Gap(firstGap, lastGap, e.asked))
	if e.asked++; e.asked >= maxAsked {
		q.Done(f)
		return
	}
	e.out = false
	heap.Push(&q.due, e)
}

// Done takes a file off the list. It reports nothing: a file that is not on it
// is done too.
func (q *Questions) Done(f File) {
	e := q.byID[f.id()]
	if e == nil {
		return
	}
	delete(q.byID, f.id())
	if !e.out {
		heap.Remove(&q.due, e.index)
	}
}

// Gap is the n-th gap, from 0, of those that begin with first and double up to
// last.
func Gap(first, last time.Duration, n int) time.Duration {
	for ; n > 0 && first < last; n-- {
		first *= 2
	}
	return min(first, last)
}

// A dueHeap has the question that is due first in front.
type dueHeap []*question

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].next.Before(h[j].next) }

func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements [heap.Interface].
func (h *dueHeap) Push(x any) {
	e := x.(*question)
	e.index = len(*h)
	*h = append(*h, e)
}

// Pop implements [heap.Interface].
func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}
