package relay

import (
	"slices"
	"time"

	"inventorybeacon/uploads/spool"
)

// Files that are out of their lines, because they were set aside, are deferred or
// held, are remembered up to a number. More of them are put off: only counted. What
// the window has been past, and nobody remembers, was put off; so they are found
// again in the queue, a batch at a time.
const (
	// outOfLine is how many are remembered. More of them keep their own times for
	// the next attempt; each costs some 400 bytes.
	outOfLine = 4096
	// againFiles make a batch, and againGap is how long after the beginning of one
	// the next begins, unless half of it arrived: then it begins at once. Larger and
	// sooner ones notice sooner that the destination takes such files again; smaller
	// and later ones trouble less one that does not.
	againFiles = 512
	againGap   = 15 * time.Minute
)

// putOff are the files that were put off.
type putOff struct {
	most   int // files out of their lines that are remembered
	aside  int // files, set aside or deferred
	held   int // and held
	missed int // of both, those that this round has not come to

	cursor        uint64 // up to where this round has come
	hurry         bool   // it does not wait between batches
	trying        int    // files of the batch that are on their way
	taken, passed int    // all of it, and those that arrived
	next          time.Time
}

func (o *putOff) files() int { return o.aside + o.held }

// crowdedOut reports whether no further file out of its line can be remembered.
func (p *plan) crowdedOut() bool {
	return len(p.aside)+p.behind+len(p.held.waiting) >= p.off.most
}

// putOff forgets a file that left its line, but for its count.
func (p *plan) putOff(it *item, count *int, now time.Time) {
	delete(p.known, it.seq)
	if !p.isPutOff(it.kind, it.source, it.seq) {
		return // the window will come to it
	}
	if p.off.files() == 0 {
		p.off.next = now.Add(againGap)
		p.off.newRound()
	}
	*count++
}

// isPutOff reports whether a pending file was put off.
func (p *plan) isPutOff(k *kind, source, seq uint64) bool {
	if _, known := p.known[seq]; known || seq > p.top || k.behind && seq > k.cursor {
		return false
	}
	l := k.lines[source]
	return l == nil || l.more == 0 || seq < l.more
}

// newRound begins with the oldest again.
func (o *putOff) newRound() { o.cursor, o.missed = 0, o.files() }

// hurry makes a round of all that were put off, oldest first and without waiting.
func (p *plan) hurry() {
	p.off.newRound()
	p.off.hurry = true
}

// looks reports whether a batch is to be looked for.
func (p *plan) looks(now time.Time) bool {
	return p.mayLook() && (p.off.hurry || !now.Before(p.off.next))
}

func (p *plan) mayLook() bool {
	return p.off.files() > 0 && p.failures == 0 && p.off.trying <= againFiles/4
}

// lookDue is when that is next so, as far as time alone brings it on.
func (p *plan) lookDue() time.Time {
	if !p.mayLook() {
		return time.Time{}
	}
	return p.off.next
}

// look begins a batch.
func (p *plan) look(now time.Time) {
	p.off.next = now.Add(againGap)
	p.off.taken, p.off.passed = p.off.trying, 0
}

// comeBack takes those of pending files that were put off back into their lines,
// until the batch is full.
func (p *plan) comeBack(keys []spool.Key, now time.Time) (full bool) {
	for _, key := range keys {
		if p.off.trying == againFiles {
			return true
		}
		p.off.cursor = key.Seq
		if k := p.kind(key.Kind); !p.isPutOff(k, key.Source, key.Seq) {
			continue
		}
		p.off.found()
		p.known[key.Seq] = struct{}{}
		p.offer(&item{seq: key.Seq, size: key.Size, kind: p.kind(key.Kind), source: key.Source, again: true}, now)
	}
	return false
}

// found counts a file that came back. What it had been put off for is forgotten:
// it was the more frequent.
func (o *putOff) found() {
	if o.held > o.aside {
		o.held--
	} else {
		o.aside = max(o.aside-1, 0)
	}
	o.missed = max(o.missed-1, 0)
	o.trying++
	o.taken++
}

// roundOver ends a round that came to the end of the queue: what it did not find
// has left by another way.
func (o *putOff) roundOver() {
	gone := min(o.missed, o.aside)
	o.aside -= gone
	o.held = max(o.held-(o.missed-gone), 0)
	o.hurry = false
	o.newRound()
}

// tried notes what came of a file of a batch.
func (p *plan) tried(it *item, passed bool) {
	if !it.again {
		return
	}
	it.again = false
	p.off.trying--
	if !passed {
		return
	}
	if p.off.passed++; 2*p.off.passed >= p.off.taken {
		p.off.next = time.Time{}
	}
}

// clear ends the suspicion against a file.
func (p *plan) clear(it *item) {
	if it.trouble != nil && it.trouble.suspect {
		it.trouble.suspect = false
		p.suspects = slices.DeleteFunc(p.suspects, func(s *item) bool { return s == it })
	}
}

// look takes files that were put off back into their lines, if it is time.
func (r *Relay) look(now time.Time) {
	if !r.plan.looks(now) {
		return
	}
	r.plan.look(now)
	for {
		r.keys = r.o.Queue.Keys(r.o.Name, r.plan.off.cursor, r.chunk, r.keys[:0])
		if r.plan.comeBack(r.keys, now) {
			return
		}
		if len(r.keys) < r.chunk {
			r.plan.off.roundOver()
			return
		}
	}
}

// offSeqs returns the numbers of the files that were put off and that which names.
func (r *Relay) offSeqs(which func(seq uint64) bool) (out []uint64) {
	if r.plan.off.aside == 0 {
		return nil
	}
	var keys []spool.Key
	for from := uint64(0); ; from = keys[len(keys)-1].Seq {
		keys = r.o.Queue.Keys(r.o.Name, from, loadChunk, keys[:0])
		for _, key := range keys {
			if r.plan.isPutOff(r.plan.kind(key.Kind), key.Source, key.Seq) && which(key.Seq) {
				out = append(out, key.Seq)
			}
		}
		if len(keys) < loadChunk {
			return out
		}
	}
}
