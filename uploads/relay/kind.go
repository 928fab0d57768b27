package relay

import (
	"iter"
	"time"
)

// A kind is the lines of one kind of file, which share what the destination can
// take with those of others by weight.
type kind struct {
	weight int64
	lines  map[uint64]*line // by source
	ready  ring             // lines whose head may go
	flying int              // files
	// spent is what was sent, in bytes by weight: the kind that spent least goes
	// next.
	spent int64
	asked time.Time // no attempt before, because the destination asks for it

	// The window.
	planned int    // files in lines or flying that are not deferred
	cursor  uint64 // every file up to here is planned, or its line knows of it
	behind  bool   // the window had no room for some behind the cursor
	seeking bool   // a scan under way is to find them
	starved bool   // the window had no room for a line's next file
	seekers int    // its lines that a scan under way is to find more of
	budget  int    // files that a scan under way may add to lines that have more
}

// weights say what share of a busy destination a kind gets beside others: what
// people wait for before what they look up one day. A larger one empties its
// kind's backlog sooner, at the others' cost.
var weights = map[string]int64{
	"Inventories": 8, "BeaconStatus": 8, "Events": 8, "CommandResults": 8, "UsageData": 4, "Logs": 1, "SecurityLogs": 1,
}

const otherWeight = 2

// fileCost is what a file costs beside its bytes. More lets kinds of small files
// have fewer of them; less lets them keep a destination from moving bytes.
const fileCost = 64 << 10

func (k *kind) pay(size int64) { k.spent += (fileCost + size) / k.weight }

// maxKinds bounds the kinds that share by themselves: where unknown ones are
// taken, somebody may make them up. What is above shares as one.
const maxKinds = 64

func (p *plan) kind(name string) *kind {
	if name == p.lastName && p.lastKind != nil { // as it mostly is
		return p.lastKind
	}
	k := p.findKind(name)
	p.lastName, p.lastKind = name, k
	return k
}

func (p *plan) findKind(name string) *kind {
	k := p.kinds[name]
	if k == nil {
		if len(p.kinds) >= maxKinds {
			name = ""
			if k = p.kinds[name]; k != nil {
				return k
			}
		}
		k = &kind{weight: weights[name], lines: map[uint64]*line{}}
		if k.weight == 0 {
			k.weight = otherWeight
		}
		p.kinds[name] = k
		p.byKind = append(p.byKind, k)
	}
	return k
}

// choose returns the line whose turn it is: of the kind that spent least, the one
// that waits longest; a deferred file's only if there is no other.
func (p *plan) choose(now time.Time) *line {
	var best *kind
	for _, k := range p.byKind {
		switch {
		case k.ready.n == 0, k.asked.After(now), p.perKind > 0 && k.flying >= p.perKind:
		case best == nil, k.spent < best.spent,
			k.spent == best.spent && k.ready.first.head().seq < best.ready.first.head().seq:
			best = k
		}
	}
	if best != nil {
		p.spent = max(p.spent, best.spent)
		return best.ready.first
	}
	for l := range p.last.all() {
		if !l.kind.asked.After(now) {
			return l
		}
	}
	return nil
}

// enter lets a line compete. A kind that had nothing to send has saved nothing up.
func (p *plan) enter(l *line) {
	if l.kind.ready.n == 0 && l.kind.flying == 0 {
		l.kind.spent = max(l.kind.spent, p.spent)
	}
	l.kind.ready.push(l)
}

// allLines are the lines of all kinds.
func (p *plan) allLines() iter.Seq[*line] {
	return func(yield func(*line) bool) {
		for _, k := range p.byKind {
			for _, l := range k.lines {
				if !yield(l) {
					return
				}
			}
		}
	}
}

func (p *plan) readyCount() int {
	n := p.last.n
	for _, k := range p.byKind {
		n += k.ready.n
	}
	return n
}

// readyLines are the lines whose head may go, unless its kind was asked to wait.
func (p *plan) readyLines() iter.Seq[*line] {
	return func(yield func(*line) bool) {
		for _, k := range p.byKind {
			for l := range k.ready.all() {
				if !yield(l) {
					return
				}
			}
		}
		for l := range p.last.all() {
			if !yield(l) {
				return
			}
		}
	}
}
