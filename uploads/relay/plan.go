package relay

import (
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
	off       putOff

	// The sink's health.
	failures int       // in a row
	until    time.Time // no attempt before, by our own judgement
	round    uint64    // grows with every failure that counted
	suspects []*item   // failed since the last success
	// The round of the latest failure since the last success.
	failedSource map[uint64]uint64
	failedKind   map[*kind]uint64
}

// batchBytes is how large a batch may grow before it is full. A larger one
// amortises syncs better, a smaller one ends sooner.
const batchBytes = 64 << 20

func newPlan(b backoff.Backoff) *plan {
	p := &plan{
		backoff: b, group: 1, perLine: 1, window: windowFiles, kinds: map[string]*kind{},
		known: map[uint64]struct{}{}, long: map[*line]struct{}{},
	}
	p.off.most = outOfLine
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
	p.clear(it)
	p.tried(it, true)
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

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
