package relay

import (
	"slices"

	"inventorybeacon/uploads/spool"
)

// The plan holds a window of the queue, so that a backlog of any size costs the
// same memory. What the window has no room for is remembered by one number: of
// each line, the first file that is not planned; of each kind, up to where every
// file is planned or known to its line. A scan goes over the keys from the least
// of these numbers that matters.

// windowFiles is how many files of one kind are planned at a time. More find room
// for more devices, so that one with few files is found behind more of those with
// many; each costs some 300 bytes.
const windowFiles = 4096

// share is the part of the room left that one line may fill, up to lineFiles and
// what it needs for what is on its way: many devices with much to send each get a
// little, and some is left for the next one.
const (
	share     = 16
	lineFiles = 64
)

func (p *plan) share(k *kind) int {
	return min((p.window-k.planned)/share, max(lineFiles, 2*p.perLine))
}

// crowded reports whether a line has its share of the window.
func (p *plan) crowded(l *line) bool {
	return len(l.queue) > 0 && len(l.queue) >= p.share(l.kind)
}

// roomy reports whether there is room again for what the window did not take: a
// good part of it, so that scans are few.
func (p *plan) roomy(k *kind) bool { return (k.behind || k.starved) && 4*k.planned <= 3*p.window }

// wants reports whether a scan would find room for what it finds.
//
// One line of many that has nothing left to send is no reason yet: it would have to
// wait for its turn anyhow.
func (p *plan) wants() bool {
	return p.hungry > len(p.long)/8 || p.hungry > 0 && p.readyCount() < lineFiles || slices.ContainsFunc(p.byKind, p.roomy)
}

// begin starts a scan and returns behind which number.
func (p *plan) begin() uint64 {
	from := p.top
	p.seeking, p.seekers, p.hungry = 0, 0, 0
	for _, k := range p.byKind {
		k.seekers = 0
		if k.seeking = k.behind && p.roomy(k); k.seeking {
			p.seeking++
			from = min(from, k.cursor)
		}
		k.starved = k.starved && !p.roomy(k)
		if k.budget = p.window - k.planned; k.behind {
			k.budget = (k.budget + 1) / 2 // the rest is for lines that have nothing in the window
		}
	}
	for l := range p.long {
		if l.wanting = 2*len(l.queue) <= p.share(l.kind); l.wanting {
			p.seekers++
			l.kind.seekers++
			from = min(from, l.more-1)
		}
	}
	return from
}

// scan plans keys, in their order, as far as there is room, and returns behind
// which number to go on: behind all that were ever looked at, once nobody looks for
// anything among those.
func (p *plan) scan(keys []spool.Key) uint64 {
	var at uint64
	for _, k := range keys {
		if p.seekers == 0 && p.seeking == 0 && k.Seq <= p.top {
			continue
		}
		p.consider(k)
		at = k.Seq
	}
	for _, k := range p.byKind {
		if k.seeking {
			k.cursor = max(k.cursor, at)
		}
	}
	if p.sought(at) {
		at = max(at, p.top)
	}
	p.top = max(p.top, at)
	return at
}

// sought reports whether nobody looks for anything between at and the top: of a
// kind that is behind, what is there has to wait.
func (p *plan) sought(at uint64) bool {
	for _, k := range p.byKind {
		switch {
		case k.seeking && k.cursor < p.top:
			return false
		case k.seekers > 0 && !(k.behind && !k.seeking && at >= k.cursor):
			return false
		}
	}
	return true
}

// end finishes a scan that came to the end of the queue: whoever still looks for
// more has all.
func (p *plan) end() {
	for l := range p.long {
		if l.wanting {
			p.found(l)
			l.more = 0
			delete(p.long, l)
			p.drop(l)
		}
	}
	for _, k := range p.byKind {
		if k.seeking {
			k.seeking, k.behind = false, false
		}
	}
}

// found ends a line's part in a scan.
func (p *plan) found(l *line) {
	if l.wanting {
		l.wanting = false
		l.kind.seekers--
		p.seekers--
	}
}

// consider plans a file, unless it is planned or there is no room.
func (p *plan) consider(key spool.Key) {
	k := p.kind(key.Kind)
	l := k.lines[key.Source]
	_, known := p.known[key.Seq]
	switch {
	case key.Seq > k.cursor:
		p.considerNew(key, k, l, known)
	case known || l == nil || !l.wanting || key.Seq < l.more:
	case k.budget <= 0, k.planned >= p.window:
		k.starved = true
		p.skip(l, key.Seq)
	case p.crowded(l):
		p.skip(l, key.Seq)
	default:
		k.budget--
		p.add(key)
	}
}

// considerNew plans a file behind its kind's cursor.
func (p *plan) considerNew(key spool.Key, k *kind, l *line, known bool) {
	switch {
	case k.behind && !k.seeking:
		return // in its turn
	case known:
	case l != nil && (l.more != 0 && !l.wanting || p.crowded(l)):
		p.skip(l, key.Seq)
	case k.planned >= p.window && l != nil:
		k.starved = true
		p.skip(l, key.Seq)
	case k.planned >= p.window:
		p.block(k)
		return
	default:
		p.add(key)
	}
	k.cursor = key.Seq
}

// block leaves the files of a kind behind its cursor for a later scan.
func (p *plan) block(k *kind) {
	if k.seeking {
		p.seeking--
	}
	k.behind, k.seeking = true, false
}

// skip notes that a line's files from seq on are not planned.
func (p *plan) skip(l *line, seq uint64) {
	if l.wanting || l.more == 0 || seq < l.more {
		l.more = seq
		p.long[l] = struct{}{}
	}
	p.found(l)
}

// late plans a file that the queue did not show when its turn was, or notes that
// it is there.
func (p *plan) late(key spool.Key) {
	k := p.kind(key.Kind)
	l := k.lines[key.Source]
	_, known := p.known[key.Seq]
	switch {
	case known, key.Seq > p.top, k.behind && key.Seq > k.cursor: // it is, or will be
	case l != nil && p.crowded(l):
		p.skip(l, key.Seq)
	case k.planned >= p.window:
		k.cursor, k.behind = min(k.cursor, key.Seq-1), true
	default:
		p.add(key)
	}
}
