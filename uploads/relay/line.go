package relay

import (
	"slices"
	"time"

	"inventorybeacon/uploads"
)

type lineKey struct {
	device uploads.Device
	kind   string
	name   string // only if the device is unknown
}

// keyOf returns the line a file belongs to. Files of unknown devices only keep
// their order among those of the same name.
func keyOf(u uploads.Upload) lineKey {
	k := lineKey{device: u.Device.Key(), kind: u.Kind}
	if u.Device.IsZero() {
		k.name = u.Name.Key()
	}
	return k
}

type line struct {
	key    lineKey
	queue  []*item // oldest first
	behind []*item // deferred; tried when queue is empty
	flying bool
	heap   *lineHeap // the one it is in, if any
	index  int
}

// An item is one file that waits. Its trouble starts at zero.
type item struct {
	seq      uint64
	line     lineKey
	trouble  *trouble
	deferred bool
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

func (l *line) head() *item {
	switch {
	case len(l.queue) > 0:
		return l.queue[0]
	case len(l.behind) > 0:
		return l.behind[0]
	}
	return nil
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

// A lineHeap is a heap of lines that know their place in it.
type lineHeap struct {
	lines []*line
	less  func(a, b *line) bool
}

func (h *lineHeap) Len() int           { return len(h.lines) }
func (h *lineHeap) Less(i, j int) bool { return h.less(h.lines[i], h.lines[j]) }

func (h *lineHeap) Swap(i, j int) {
	h.lines[i], h.lines[j] = h.lines[j], h.lines[i]
	h.lines[i].index, h.lines[j].index = i, j
}

// Push implements [heap.Interface].
func (h *lineHeap) Push(l any) {
	l.(*line).index = len(h.lines)
	h.lines = append(h.lines, l.(*line))
}

// Pop implements [heap.Interface].
func (h *lineHeap) Pop() any {
	l := h.lines[len(h.lines)-1]
	h.lines = slices.Delete(h.lines, len(h.lines)-1, len(h.lines))
	return l
}
