package relay

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/backoff"
)

// A plan decides which file goes next. It holds no file, only sequence numbers,
// so that a backlog costs some tens of bytes a file and a few hundred a line. It
// does no I/O, starts nothing and is told the time.
//
// Files of one device and kind form a line and go one by one, oldest first.
// Lines do not wait for each other.
type plan struct {
	backoff backoff.Backoff

	lines map[lineKey]*line
	ready lineHeap // lines whose head may go, oldest first
	later lineHeap // lines whose head waits for a time, soonest first

	flying  int // files
	batches int
	waiting int // files in lines or flying
	behind  int // deferred files
	aside   map[uint64]*item
	held    held

	// The sink's health.
	failures int       // in a row
	until    time.Time // no attempt before, by our own judgement
	asked    time.Time // no attempt before, because the destination asks for it
	round    uint64    // grows with every failure that counted
	suspects []*item   // failed since the last success
	devices  map[uploads.Device]uint64
	kinds    map[string]uint64 // the round of the latest failure, since the last success
}

// deferAfter is how often a file fails while others pass before it moves behind
// the rest. Fewer would punish a file for a destination that comes and goes; more
// lets a bad one hold up its line for longer.
const deferAfter = 5

// asideFor is how long a file that was set aside waits before it is offered
// again, if nothing happens that makes a new offer promising.
const asideFor = 24 * time.Hour

func newPlan(b backoff.Backoff) *plan {
	p := &plan{backoff: b, lines: map[lineKey]*line{}, aside: map[uint64]*item{}}
	p.ready.less = func(a, b *line) bool {
		x, y := a.head(), b.head()
		if x.deferred != y.deferred {
			return y.deferred
		}
		return x.seq < y.seq
	}
	p.later.less = func(a, b *line) bool { return a.head().next().Before(b.head().next()) }
	p.healthy()
	return p
}

// add appends a file to its line.
func (p *plan) add(u uploads.Upload) {
	it := &item{seq: u.Seq, line: keyOf(u)}
	l := p.line(it.line)
	l.queue = append(l.queue, it)
	p.waiting++
	if len(l.queue) == 1 {
		p.place(l, time.Time{})
	}
}

func (p *plan) line(k lineKey) *line {
	l := p.lines[k]
	if l == nil {
		l = &line{key: k}
		p.lines[k] = l
	}
	return l
}

// next returns the files to try now, at most group of them and all of
// different lines, or none.
func (p *plan) next(now time.Time, group int) []*item {
	if now.Before(p.pause()) {
		return nil
	}
	p.wake(now)
	if p.failures > 0 {
		return p.probe()
	}
	var out []*item
	for len(out) < group && p.ready.Len() > 0 {
		out = append(out, p.take(p.ready.lines[0]))
	}
	return p.launch(out)
}

// probe finds one file to learn with whether the destination is back: of the
// device and kind whose latest failure is longest ago.
func (p *plan) probe() []*item {
	if p.batches > 0 || p.ready.Len() == 0 {
		return nil
	}
	best := slices.MinFunc(p.ready.lines, func(a, b *line) int {
		x, y := a.head(), b.head()
		return cmp.Or(
			cmp.Compare(p.devices[a.key.device], p.devices[b.key.device]),
			cmp.Compare(p.kinds[a.key.kind], p.kinds[b.key.kind]),
			compareBool(x.deferred, y.deferred),
			cmp.Compare(x.seq, y.seq),
		)
	})
	return p.launch([]*item{p.take(best)})
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// take removes the line's head for flight.
func (p *plan) take(l *line) *item {
	it := l.head()
	p.unplace(l)
	if len(l.queue) > 0 {
		l.queue = l.queue[1:]
	} else {
		l.behind = l.behind[1:]
	}
	l.flying = true
	return it
}

func (p *plan) launch(items []*item) []*item {
	if len(items) > 0 {
		p.batches++
		p.flying += len(items)
	}
	return items
}

// landed notes that a batch is over; each of its files is told of as well.
func (p *plan) landed() { p.batches-- }

// remove forgets a flying file: it is delivered, refused or gone.
func (p *plan) remove(it *item, now time.Time) {
	p.waiting--
	delete(p.held.files, it.seq)
	if it.deferred {
		p.behind--
	}
	if it.trouble != nil && it.trouble.suspect {
		p.suspects = slices.DeleteFunc(p.suspects, func(s *item) bool { return s == it })
	}
	p.land(it, now)
}

// land frees the line of a flying file.
func (p *plan) land(it *item, now time.Time) {
	p.flying--
	l := p.lines[it.line]
	l.flying = false
	p.place(l, now)
}

// passed notes that the destination took a file or gave a verdict on one: it
// works, and what failed before failed by itself.
func (p *plan) passed(now time.Time) {
	suspects := p.suspects
	p.healthy()
	for _, s := range suspects {
		s.trouble.suspect = false
		s.trouble.failures++
		s.trouble.next = s.trouble.at.Add(p.backoff.Delay(s.trouble.failures))
		p.reconsider(s, now)
	}
}

func (p *plan) healthy() {
	p.failures, p.until, p.suspects = 0, time.Time{}, nil
	p.devices, p.kinds = map[uploads.Device]uint64{}, map[string]uint64{}
}

// reconsider moves a waiting file whose own failures have grown.
func (p *plan) reconsider(it *item, now time.Time) {
	l := p.lines[it.line]
	p.unplace(l)
	if i := slices.Index(l.queue, it); i >= 0 { // else it is flying, or deferred already
		l.queue = slices.Delete(l.queue, i, i+1)
		p.putBack(l, it)
	}
	p.place(l, now)
}

// failed puts a flying file back. round is the plan's round when the attempt
// began: of attempts that ran side by side, only the first failure makes the
// waits longer. after is what the destination asks for, in place of our own wait.
func (p *plan) failed(it *item, round uint64, after time.Duration, reason string, now time.Time) {
	t := it.troubled()
	t.at, t.reason = now, reason
	if !t.suspect {
		t.suspect = true
		p.suspects = append(p.suspects, it)
	}
	if after > 0 {
		p.asked = latest(p.asked, now.Add(after))
	}
	counts := round == p.round
	if counts {
		p.failures++
		p.round++
	}
	p.devices[it.line.device], p.kinds[it.line.kind] = p.round, p.round
	l := p.lines[it.line]
	p.putBack(l, it)
	p.land(it, now)
	if counts && after <= 0 && !(p.failures == 1 && p.hasAnother(l, now)) {
		p.until = latest(p.until, now.Add(p.backoff.Delay(p.failures)))
	}
}

// putBack returns a file to the head of its line, or behind the rest if it has
// failed too often.
func (p *plan) putBack(l *line, it *item) {
	if !it.deferred && it.trouble.failures < deferAfter {
		l.queue = slices.Insert(l.queue, 0, it)
		return
	}
	if !it.deferred {
		it.deferred = true
		p.behind++
	}
	l.behind = append(l.behind, it)
}

// pause is until when the destination is left alone.
func (p *plan) pause() time.Time { return latest(p.until, p.asked) }

// hasAnother reports whether a file of another line could go now. Then the
// first failure costs no wait: whose fault it was, the next try will tell.
func (p *plan) hasAnother(l *line, now time.Time) bool {
	p.wake(now)
	return p.ready.Len() > 1 || p.ready.Len() == 1 && p.ready.lines[0] != l
}

// setAside takes a flying file out of its line until it is offered again.
func (p *plan) setAside(it *item, reason string, now time.Time) {
	t := it.troubled()
	t.at, t.next, t.reason = now, now.Add(asideFor), reason
	p.aside[it.seq] = it
	p.remove(it, now)
	t.suspect, it.deferred = false, false
}

// reoffer puts the files that were set aside back into their lines: all, or
// only those whose time has come.
func (p *plan) reoffer(all bool, now time.Time) {
	for seq, it := range p.aside {
		if !all && now.Before(it.trouble.next) {
			continue
		}
		delete(p.aside, seq)
		it.trouble.next, it.trouble.digest = time.Time{}, 0
		p.offer(it, now)
	}
}

// offer puts a file that was out of its line back where it belongs.
func (p *plan) offer(it *item, now time.Time) {
	l := p.line(it.line)
	p.unplace(l)
	at, _ := slices.BinarySearchFunc(l.queue, it.seq, func(q *item, seq uint64) int { return cmp.Compare(q.seq, seq) })
	l.queue = slices.Insert(l.queue, at, it)
	p.waiting++
	p.place(l, now)
}

// due returns when, after now, the plan wants to be asked again, if time alone
// brings that on.
func (p *plan) due(now time.Time) (at time.Time, ok bool) {
	soonest := func(t time.Time) {
		if t.After(now) && (!ok || t.Before(at)) {
			at, ok = t, true
		}
	}
	if p.ready.Len() > 0 {
		soonest(p.pause())
	}
	if p.later.Len() > 0 {
		soonest(latest(p.pause(), p.later.lines[0].head().next()))
	}
	for _, it := range p.aside {
		soonest(it.trouble.next)
	}
	soonest(p.recallDue())
	return at, ok
}

// wake moves lines whose time has come to the ready ones.
func (p *plan) wake(now time.Time) {
	for p.later.Len() > 0 && !p.later.lines[0].head().next().After(now) {
		l := p.later.lines[0]
		p.unplace(l)
		p.place(l, now)
	}
}

// place puts a line where its head says, and drops it if it is empty.
func (p *plan) place(l *line, now time.Time) {
	p.unplace(l)
	switch {
	case l.flying:
		return
	case l.head() == nil:
		delete(p.lines, l.key)
		return
	}
	l.heap = &p.ready
	if l.head().next().After(now) {
		l.heap = &p.later
	}
	heap.Push(l.heap, l)
}

func (p *plan) unplace(l *line) {
	if l.heap != nil {
		heap.Remove(l.heap, l.index)
		l.heap = nil
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
