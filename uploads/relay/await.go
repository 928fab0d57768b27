package relay

import (
	"container/heap"
	"errors"
	"slices"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/custody"
)

// A destination may hold a file durably and yet not where its sender must know
// it before it forgets it ([uploads.HeldError]). Such a file leaves its line, so
// that it holds up no other, and comes back to it for another question later.
const (
	// firstHeldGap is how long after the destination took a file the first question
	// comes; the gaps double from there. A shorter one mostly hears "not yet".
	firstHeldGap = time.Minute
	// lastHeldGap bounds the doubling. A shorter one asks for nothing more often
	// while the destination is cut off from the store; a longer one keeps files
	// for longer that could go.
	lastHeldGap = 6 * time.Hour
	// heldSession is how long the questions of one session are counted, and
	// heldQuestions how many there are in it. More of them in less time let a
	// sender with many files forget them sooner; fewer spare a destination that a
	// whole fleet asks.
	heldSession   = 15 * time.Minute
	heldQuestions = 50
)

// isHeld reports whether the destination has the file, and it is to be kept.
func isHeld(err error) bool {
	_, ok := errors.AsType[*uploads.HeldError](err)
	return ok
}

// held are the files that the destination has and that are kept all the same.
type held struct {
	files   map[uint64]*heldFile // those in their lines included
	waiting heldHeap             // for their next question, the first to be due in front
	session time.Time            // when it began
	asked   int                  // questions in it
}

type heldFile struct {
	item  *item
	asked int // times, since the destination took it
	next  time.Time
}

// await takes a flying file that the destination holds out of its line until it
// is time to ask again.
func (p *plan) await(it *item, now time.Time) {
	f := p.held.files[it.seq]
	if f == nil {
		f = &heldFile{item: it}
	}
	p.tried(it, false)
	p.remove(it, now)
	it.deferred, it.trouble = false, nil
	if p.crowdedOut() {
		p.putOff(it, &p.off.held, now)
		return
	}
	f.next = now.Add(custody.Gap(firstHeldGap, lastHeldGap, f.asked))
	f.asked++
	if p.held.files == nil {
		p.held.files = map[uint64]*heldFile{}
	}
	p.held.files[it.seq] = f
	heap.Push(&p.held.waiting, f)
}

// recall puts held files whose time has come back into their lines, as many as
// the session has questions left. While the destination fails, other files find
// out whether it is back.
func (p *plan) recall(now time.Time) {
	h := &p.held
	for len(h.waiting) > 0 && !h.waiting[0].next.After(now) {
		if p.failures > 0 && p.waiting > 0 || now.Before(p.pause()) {
			return
		}
		if now.Sub(h.session) >= heldSession {
			h.session, h.asked = now, 0
		}
		if h.asked >= heldQuestions {
			return
		}
		h.asked++
		p.offer(heap.Pop(&h.waiting).(*heldFile).item, now)
	}
}

// recallDue is when recall next has something to do, as far as time alone
// brings that on.
func (p *plan) recallDue() time.Time {
	h := &p.held
	if len(h.waiting) == 0 {
		return time.Time{}
	}
	at := latest(p.pause(), h.waiting[0].next)
	if h.asked >= heldQuestions {
		at = latest(at, h.session.Add(heldSession))
	}
	return at
}

// A heldHeap has the file that is due first in front, and the older one of two.
type heldHeap []*heldFile

func (h heldHeap) Len() int      { return len(h) }
func (h heldHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

func (h heldHeap) Less(i, j int) bool {
	if !h[i].next.Equal(h[j].next) {
		return h[i].next.Before(h[j].next)
	}
	return h[i].item.seq < h[j].item.seq
}

// Push implements [heap.Interface].
func (h *heldHeap) Push(x any) { *h = append(*h, x.(*heldFile)) }

// Pop implements [heap.Interface].
func (h *heldHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = slices.Delete(*h, len(*h)-1, len(*h))
	return last
}
