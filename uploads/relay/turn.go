package relay

import (
	"container/heap"
	"time"
)

// due returns when, after now, the plan wants to be asked again, if time alone
// brings that on.
func (p *plan) due(now time.Time) (at time.Time, ok bool) {
	soonest := func(t time.Time) {
		if t.After(now) && (!ok || t.Before(at)) {
			at, ok = t, true
		}
	}
	for l := range p.readyLines() {
		soonest(latest(p.until, l.kind.asked))
		if l.kind.asked.IsZero() {
			break // no other goes sooner
		}
	}
	if len(p.later) > 0 {
		soonest(latest(p.until, p.later[0].head().next()))
	}
	if len(p.aside) > 0 {
		soonest(p.aside[0].trouble.next)
	}
	soonest(p.recallDue())
	soonest(p.lookDue())
	return at, ok
}

// wake moves lines whose time has come to the ready ones.
func (p *plan) wake(now time.Time) {
	for len(p.later) > 0 && !p.later[0].head().next().After(now) {
		l := p.later[0]
		p.unplace(l)
		p.place(l, now)
	}
}

// place puts a line where its head says, at the end of its ring if it comes from
// elsewhere, and drops it if it is empty.
func (p *plan) place(l *line, now time.Time) {
	head := l.head()
	switch {
	case head == nil:
		p.unplace(l)
		p.drop(l)
	case !p.open(l):
		p.unplace(l)
	case head.next().After(now):
		p.unplace(l)
		l.heap = true
		heap.Push(&p.later, l)
	case l.ring != nil && (l.ring == &p.last) == head.deferred:
	case head.deferred:
		p.unplace(l)
		p.last.push(l)
	default:
		p.unplace(l)
		p.enter(l)
	}
}

func (p *plan) unplace(l *line) {
	if l.ring != nil {
		l.ring.remove(l)
	}
	if l.heap {
		heap.Remove(&p.later, l.index)
		l.heap = false
	}
}

// drop forgets a line that has nothing left.
func (p *plan) drop(l *line) {
	if l.files() == 0 && l.more == 0 {
		delete(l.kind.lines, l.source)
	}
}
