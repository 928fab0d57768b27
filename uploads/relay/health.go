package relay

import (
	"slices"
	"time"
)

// deferAfter is how often a file fails while others pass before it moves behind
// the rest. Fewer would punish a file for a destination that comes and goes; more
// lets a bad one hold up its line for longer.
const deferAfter = 5

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
		p.putBack(l, it, now)
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
	l.doubt = int64(p.round)
	p.unplace(l)
	p.putBack(l, it, now)
	p.land(it, now)
	if counts && after <= 0 && !(p.failures == 1 && p.hasAnother(l, now)) {
		p.until = latest(p.until, now.Add(p.backoff.Delay(p.failures)))
	}
}

// failedAlone puts a flying file behind the rest that failed before the destination
// had a part in it.
func (p *plan) failedAlone(it *item, reason string, now time.Time) {
	t := it.troubled()
	t.at, t.reason, t.failures = now, reason, max(t.failures+1, deferAfter)
	t.next = now.Add(p.backoff.Delay(t.failures))
	l := it.at()
	p.unplace(l)
	p.putBack(l, it, now)
	p.land(it, now)
}

// putBack returns a file to its place in its line, or behind the rest if it has
// failed too often; then it may be put off.
func (p *plan) putBack(l *line, it *item, now time.Time) {
	if !it.deferred && !it.tiresome() {
		l.insert(it)
		return
	}
	if !it.deferred {
		p.tried(it, false)
		l.kind.planned--
		if p.crowdedOut() {
			p.waiting--
			p.clear(it)
			delete(p.held.files, it.seq)
			p.putOff(it, &p.off.aside, now)
			return
		}
		it.deferred = true
		p.behind++
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
