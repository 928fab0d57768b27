package relay

import (
	"cmp"
	"time"
)

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
// device and kind whose latest failure is longest ago, and of a line that passed
// last time rather than of one that failed.
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
		compareBool(x.again, y.again), // they failed before others did
		cmp.Compare(p.failedSource[a.source], p.failedSource[b.source]),
		cmp.Compare(a.doubt, b.doubt),
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
