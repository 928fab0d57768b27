package relay

import (
	"cmp"
	"container/heap"
	"iter"
	"slices"
	"time"
)

// A line is the files of one kind and device, or sender where the device is
// unknown, that are planned.
type line struct {
	kind   *kind
	source uint64
	queue  []*item // oldest first
	behind []*item // deferred; tried when queue is empty
	flying int     // files
	batch  uint64  // the one its flying files are in, where a batch has several
	// more is the first of its files that the window had no room for; 0 if all are
	// planned.
	more    uint64
	wanting bool // a scan under way is to find more
	// doubt is what its latest attempt says of the next: 0 before one, trusted if the
	// destination took the file or gave a verdict on it, else the plan's round then.
	doubt int64

	ring       *ring // the one it is in, if any
	prev, next *line
	heap       bool // it is in the heap of those that wait for a time
	index      int
}

// An item is one file that waits. Its trouble starts at zero. Its line may go and
// come while it is elsewhere.
type item struct {
	seq      uint64
	size     int64
	kind     *kind
	source   uint64
	trouble  *trouble
	deferred bool
	again    bool // it was put off, and is tried again
}

// trouble is what went wrong with one file.
type trouble struct {
	failures int // of its own: others passed since
	digest   int // times its bytes were not the announced ones
	suspect  bool
	at       time.Time // of the latest failure
	next     time.Time // not before
	reason   string
}

// trusted is the doubt in a line whose latest attempt showed that the destination
// works. It outlives the successes of other lines, so that of many devices that
// always fail each is not tried again before those that do not.
const trusted = -1

func (l *line) head() *item {
	switch {
	case len(l.queue) > 0:
		return l.queue[0]
	case len(l.behind) > 0:
		return l.behind[0]
	}
	return nil
}

// files is how many of the line's are planned.
func (l *line) files() int { return len(l.queue) + len(l.behind) + l.flying }

// insert puts a file where its number says.
func (l *line) insert(it *item) {
	at, _ := slices.BinarySearchFunc(l.queue, it.seq, func(q *item, seq uint64) int { return cmp.Compare(q.seq, seq) })
	l.queue = slices.Insert(l.queue, at, it)
}

// at returns the line the file is in.
func (it *item) at() *line { return it.kind.lines[it.source] }

// tiresome reports whether the file has failed often enough to move behind the rest.
// One that was put off need fail but once.
func (it *item) tiresome() bool {
	return it.trouble.failures >= deferAfter || it.again && it.trouble.failures > 0
}

func (it *item) next() time.Time {
	if it.trouble == nil {
		return time.Time{}
	}
	return it.trouble.next
}

func (it *item) troubled() *trouble {
	if it.trouble == nil {
		it.trouble = &trouble{}
	}
	return it.trouble
}

// A ring is lines that take turns: one that was served goes to the end.
type ring struct {
	first, last *line
	n           int
}

func (r *ring) push(l *line) {
	l.ring, l.prev, l.next = r, r.last, nil
	if r.last == nil {
		r.first = l
	} else {
		r.last.next = l
	}
	r.last = l
	r.n++
}

func (r *ring) remove(l *line) {
	if l.prev == nil {
		r.first = l.next
	} else {
		l.prev.next = l.next
	}
	if l.next == nil {
		r.last = l.prev
	} else {
		l.next.prev = l.prev
	}
	l.ring, l.prev, l.next = nil, nil, nil
	r.n--
}

var _ heap.Interface = (*lineHeap)(nil)

// all yields the lines whose turn is next first. The ring must not change meanwhile.
func (r *ring) all() iter.Seq[*line] {
	return func(yield func(*line) bool) {
		for l := r.first; l != nil && yield(l); l = l.next {
		}
	}
}

// A lineHeap is lines that wait for a time, the soonest first, each of which
// knows its place.
type lineHeap []*line

func (h lineHeap) Len() int           { return len(h) }
func (h lineHeap) Less(i, j int) bool { return h[i].head().next().Before(h[j].head().next()) }

func (h lineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements [heap.Interface].
func (h *lineHeap) Push(l any) {
	l.(*line).index = len(*h)
	*h = append(*h, l.(*line))
}

// Pop implements [heap.Interface].
func (h *lineHeap) Pop() any {
	l := (*h)[len(*h)-1]
	*h = slices.Delete(*h, len(*h)-1, len(*h))
	return l
}
