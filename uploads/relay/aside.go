package relay

import (
	"slices"
	"time"
)

// asideFor is how long a file that was set aside waits before it is offered
// again, if nothing happens that makes a new offer promising.
const asideFor = 24 * time.Hour

// setAside takes a flying file out of its line until it is offered again.
func (p *plan) setAside(it *item, reason string, now time.Time) {
	t := it.troubled()
	t.at, t.next, t.reason = now, now.Add(asideFor), reason
	p.tried(it, false)
	p.remove(it, now)
	it.deferred = false
	if p.crowdedOut() {
		p.putOff(it, &p.off.aside, now)
		return
	}
	p.aside = append(p.aside, it)
}

// reoffer puts the files that were set aside back into their lines: all, or
// only those whose time has come.
func (p *plan) reoffer(all bool, now time.Time) {
	if all && p.off.files() > 0 {
		p.reofferInTurn(now)
		return
	}
	for len(p.aside) > 0 && (all || !now.Before(p.aside[0].trouble.next)) {
		it := p.aside[0]
		p.aside = p.aside[1:]
		it.trouble.next, it.trouble.digest = time.Time{}, 0
		p.offer(it, now)
	}
}

// reofferInTurn has all files that were set aside found in the queue, so that they
// come in the order of those that were put off.
func (p *plan) reofferInTurn(now time.Time) {
	for _, it := range p.aside {
		p.putOff(it, &p.off.aside, now)
	}
	p.aside = nil
	p.hurry()
}

// pardon lets files that failed by themselves or were set aside go again as if
// nothing had happened, and returns how many it found.
func (p *plan) pardon(which func(seq uint64) bool, now time.Time) (n int) {
	var pardoned []*item
	p.aside = slices.DeleteFunc(p.aside, func(it *item) bool {
		if which(it.seq) {
			pardoned = append(pardoned, it)
			return true
		}
		return false
	})
	for l := range p.allLines() {
		n += p.pardonLine(l, which, now)
	}
	for _, it := range pardoned {
		it.trouble = nil
		if p.off.files() > 0 {
			p.putOff(it, &p.off.aside, now)
			continue
		}
		p.offer(it, now)
	}
	if p.off.files() > 0 && len(pardoned) > 0 {
		p.hurry()
	}
	return n + len(pardoned)
}

func (p *plan) pardonLine(l *line, which func(seq uint64) bool, now time.Time) (n int) {
	var back []*item
	l.behind = slices.DeleteFunc(l.behind, func(it *item) bool {
		if !which(it.seq) {
			return false
		}
		back = append(back, it)
		return true
	})
	for _, it := range l.queue {
		if it.trouble != nil && !it.trouble.suspect && which(it.seq) {
			it.trouble = nil
			n++
		}
	}
	for _, it := range back {
		it.deferred = false
		p.behind--
		l.kind.planned++
		it.trouble.failures, it.trouble.digest, it.trouble.next = 0, 0, time.Time{}
		l.insert(it)
	}
	if n += len(back); n > 0 {
		p.unplace(l)
		p.place(l, now)
	}
	return n
}
