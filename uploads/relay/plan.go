package relay

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"inventorybeacon/uploads/backoff"
	"inventorybeacon/uploads/spool"
)

// A plan decides which file goes next. It holds no file, only numbers, and of
// those only a window (see window.go). It does no I/O, starts nothing and is told
// the time.
//
// Files of one device and kind form a line and go oldest first. Lines of one kind
// take turns, and kinds share by weight, so that none waits until another is
// empty.
type plan struct {
	backoff backoff.Backoff
	group   int // files in a batch
	perLine int // files of one line on their way
	perKind int // files of one kind on their way; 0: all there may be

	kinds  map[string]*kind
	byKind []*kind
	// The kind asked for last.
	lastName string
	lastKind *kind
	spent    int64    // by the kind that went last
	last     ring     // lines whose head is deferred: behind the rest
	later    lineHeap // lines whose head waits for a time

	// The window.
	window  int                 // files of one kind
	known   map[uint64]struct{} // planned, out of their lines, or delivered and not yet marked
	long    map[*line]struct{}  // lines with more than is planned
	top     uint64              // no file up to here is unheard of
	seekers int                 // lines that a scan under way is to find more of
	seeking int                 // kinds likewise
	hungry  int                 // times such a line had nothing left to send

	composing uint64 // the batch being made
	flying    int    // files
	batches   int
	waiting   int // files in lines or flying
	behind    int // deferred files
	aside     []*item
	held      held

	// The sink's health.
	failures int       // in a row
	until    time.Time // no attempt before, by our own judgement
	round    uint64    // grows with every failure that counted
	suspects []*item   // failed since the last success
	// The round of the latest failure since the last success.
	failedSource map[uint64]uint64
	failedKind   map[*kind]uint64
}

// deferAfter is how often a file fails while others pass before it moves behind
// the rest. Fewer would punish a file for a destination that comes and goes; more
// lets a bad one hold up its line for longer.
const deferAfter = 5

// asideFor is how long a file that was set aside waits before it is offered
// again, if nothing happens that makes a new offer promising.
const asideFor = 24 * time.Hour

// batchBytes is how large a batch may grow before it is full. A larger one
// amortises syncs better, a smaller one ends sooner.
const batchBytes = 64 << 20

func newPlan(b backoff.Backoff) *plan {
	p := &plan{
		backoff: b, group: 1, perLine: 1, window: windowFiles, kinds: map[string]*kind{},
		known: map[uint64]struct{}{}, long: map[*line]struct{}{},
	}
	p.healthy()
	return p
}

// add plans a file.
func (p *plan) add(k spool.Key) {
	p.known[k.Seq] = struct{}{}
	p.offer(&item{seq: k.Seq, size: k.Size, kind: p.kind(k.Kind), source: k.Source}, time.Time{})
}

func lineOf(it *item) *line {
	l := it.at()
	if l == nil {
		l = &line{kind: it.kind, source: it.source}
		it.kind.lines[it.source] = l
	}
	return l
}

// next returns the files to try now, or none. A batch holds consecutive files of
// a line, in order; another batch has files of that line meanwhile only if perLine
// says more than one batch does.
func (p *plan) next(now time.Time) []*item {
	if now.Before(p.until) {
		return nil
	}
	p.wake(now)
	if p.failures > 0 {
		return p.probe(now)
	}
	var out []*item
	p.composing++
	for size := int64(0); len(out) < p.group && size < batchBytes; {
		l := p.choose(now)
		if l == nil {
			break
		}
		it := p.take(l, now)
		out, size = append(out, it), size+it.size
	}
	return p.launch(out, now)
}

// probe finds one file to learn with whether the destination is back: of the
// device and kind whose latest failure is longest ago.
func (p *plan) probe(now time.Time) []*item {
	if p.batches > 0 {
		return nil
	}
	var best *line
	for l := range p.readyLines() {
		if !l.kind.asked.After(now) && (best == nil || p.compareProbes(l, best) < 0) {
			best = l
		}
	}
	if best == nil {
		return nil
	}
	p.composing++
	return p.launch([]*item{p.take(best, now)}, now)
}

func (p *plan) compareProbes(a, b *line) int {
	x, y := a.head(), b.head()
	return cmp.Or(
		cmp.Compare(p.failedSource[a.source], p.failedSource[b.source]),
		cmp.Compare(p.failedKind[a.kind], p.failedKind[b.kind]),
		compareBool(x.deferred, y.deferred),
		cmp.Compare(x.seq, y.seq),
	)
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
func (p *plan) take(l *line, now time.Time) *item {
	it := l.head()
	p.unplace(l)
	if len(l.queue) > 0 {
		l.queue = l.queue[1:]
	} else {
		l.behind = l.behind[1:]
	}
	l.flying++
	l.kind.flying++
	l.batch = p.composing
	l.kind.pay(it.size)
	p.noteHunger(l)
	p.place(l, now)
	return it
}

// launch counts a batch as on its way.
func (p *plan) launch(items []*item, now time.Time) []*item {
	p.composing++
	if len(items) > 0 {
		p.batches++
		p.flying += len(items)
	}
	for _, it := range items {
		p.place(it.at(), now)
	}
	return items
}

// open reports whether another of the line's files may go beside those on their
// way.
func (p *plan) open(l *line) bool {
	switch {
	case l.flying == 0:
		return true
	case l.flying >= p.perLine:
		return false
	}
	return p.group == 1 || p.perLine > p.group || l.batch == p.composing
}

// landed notes that a batch is over; each of its files is told of as well.
func (p *plan) landed() { p.batches-- }

// remove takes a flying file out of its line: it is delivered, refused, gone or
// put elsewhere.
func (p *plan) remove(it *item, now time.Time) {
	p.waiting--
	delete(p.held.files, it.seq)
	if it.deferred {
		p.behind--
	} else {
		it.at().kind.planned--
	}
	if it.trouble != nil && it.trouble.suspect {
		p.suspects = slices.DeleteFunc(p.suspects, func(s *item) bool { return s == it })
	}
	p.land(it, now)
}

// forget notes that the queue shows a file no more.
func (p *plan) forget(seq uint64) { delete(p.known, seq) }

// land makes room in the line of a flying file.
func (p *plan) land(it *item, now time.Time) {
	p.flying--
	l := it.at()
	l.flying--
	l.kind.flying--
	p.noteHunger(l)
	p.place(l, now)
}

func (p *plan) noteHunger(l *line) {
	if l.more != 0 && len(l.queue) == 0 {
		p.hungry++
	}
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
	p.failedSource, p.failedKind = map[uint64]uint64{}, map[*kind]uint64{}
}

// reconsider moves a waiting file whose own failures have grown.
func (p *plan) reconsider(it *item, now time.Time) {
	l := it.at()
	p.unplace(l)
	if i := slices.Index(l.queue, it); i >= 0 { // else it is flying, or deferred already
		l.queue = slices.Delete(l.queue, i, i+1)
		p.putBack(l, it)
	}
	p.place(l, now)
}

// failed puts a flying file back. round is the plan's round when the attempt
// began: of attempts that ran side by side, only the first failure makes the
// waits longer. after is what the destination asks for, of this kind of file, in
// place of our own wait.
func (p *plan) failed(it *item, round uint64, after time.Duration, reason string, now time.Time) {
	t := it.troubled()
	t.at, t.reason = now, reason
	if !t.suspect {
		t.suspect = true
		p.suspects = append(p.suspects, it)
	}
	l := it.at()
	if after > 0 {
		l.kind.asked = latest(l.kind.asked, now.Add(after))
	}
	counts := round == p.round
	if counts {
		p.failures++
		p.round++
	}
	p.failedSource[it.source], p.failedKind[it.kind] = p.round, p.round
	p.unplace(l)
	p.putBack(l, it)
	p.land(it, now)
	if counts && after <= 0 && !(p.failures == 1 && p.hasAnother(l, now)) {
		p.until = latest(p.until, now.Add(p.backoff.Delay(p.failures)))
	}
}

// putBack returns a file to its place in its line, or behind the rest if it has
// failed too often.
func (p *plan) putBack(l *line, it *item) {
	if !it.deferred && it.trouble.failures < deferAfter {
		l.insert(it)
		return
	}
	if !it.deferred {
		it.deferred = true
		p.behind++
		l.kind.planned--
	}
	l.behind = append(l.behind, it)
}

// pause is until when the destination is left alone: by our own judgement, or
// because it asks for that whatever is ready to go.
func (p *plan) pause() time.Time {
	var asked time.Time
	for l := range p.readyLines() {
		if asked.IsZero() || l.kind.asked.Before(asked) {
			asked = l.kind.asked
		}
		if asked.IsZero() {
			break
		}
	}
	return latest(p.until, asked)
}

// hasAnother reports whether a file of another line could go now. Then the
// first failure costs no wait: whose fault it was, the next try will tell.
func (p *plan) hasAnother(l *line, now time.Time) bool {
	p.wake(now)
	for other := range p.readyLines() {
		if other != l && !other.kind.asked.After(now) {
			return true
		}
	}
	return false
}

// setAside takes a flying file out of its line until it is offered again.
func (p *plan) setAside(it *item, reason string, now time.Time) {
	t := it.troubled()
	t.at, t.next, t.reason = now, now.Add(asideFor), reason
	p.remove(it, now)
	p.aside = append(p.aside, it)
	t.suspect, it.deferred = false, false
}

// reoffer puts the files that were set aside back into their lines: all, or
// only those whose time has come.
func (p *plan) reoffer(all bool, now time.Time) {
	for len(p.aside) > 0 && (all || !now.Before(p.aside[0].trouble.next)) {
		it := p.aside[0]
		p.aside = p.aside[1:]
		it.trouble.next, it.trouble.digest = time.Time{}, 0
		p.offer(it, now)
	}
}

// offer puts a file that was out of its line back where it belongs.
func (p *plan) offer(it *item, now time.Time) {
	l := lineOf(it)
	l.kind.planned++
	p.waiting++
	if l.head() != nil && !l.head().deferred && l.head().seq < it.seq {
		l.insert(it) // behind the head, which says where the line is
		return
	}
	p.unplace(l)
	l.insert(it)
	p.place(l, now)
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
		p.offer(it, now)
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

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
