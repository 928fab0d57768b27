package gate

import (
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
)

// Keys implements [relay.Queue].
func (g *Gate) Keys(sink string, after uint64, limit int, out []spool.Key) []spool.Key {
	end := len(out) + limit
	for len(out) < end {
		from := len(out)
		out = g.o.Queue.Keys(sink, after, end-from, out)
		got := len(out) - from
		if got == 0 {
			break
		}
		after = out[len(out)-1].Seq
		var more bool
		out, more = g.visible(sink, out, from)
		if got < end-from || !more {
			break
		}
	}
	return out
}

// visible drops from the keys behind from those that are not shown, and reports
// whether higher ones may be.
func (g *Gate) visible(sink string, keys []spool.Key, from int) ([]spool.Key, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	more := keys[len(keys)-1].Seq < g.seen
	n := from
	for _, k := range keys[from:] {
		if g.passed(k.Seq) {
			keys[n] = k
			n++
		}
	}
	if e := g.exits[sink]; e != nil && n > from {
		e.shown = max(e.shown, keys[n-1].Seq)
	}
	return keys[:n], more
}

// passed reports whether a file may be shown.
func (g *Gate) passed(seq uint64) bool {
	_, open := g.open[seq]
	return seq <= g.seen && !open
}

// Pending implements [relay.Queue]. It may return fewer files than there are.
func (g *Gate) Pending(sink string, after uint64, limit int) []uploads.Upload {
	ups := g.o.Queue.Pending(sink, after, limit)
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, u := range ups {
		if g.passed(u.Seq) {
			ups[n] = u
			n++
		}
	}
	return ups[:n]
}

// Late implements [relay.Latecomer]. Some of the files may be of kinds that the
// sink does not take.
func (g *Gate) Late(sink string) []spool.Key {
	g.mu.Lock()
	defer g.mu.Unlock()
	e := g.exits[sink]
	if e == nil {
		return nil
	}
	late := e.late
	e.late = nil
	return late
}

// Added implements [relay.Queue].
func (g *Gate) Added(sink string) <-chan struct{} {
	if e := g.exits[sink]; e != nil {
		return e.added
	}
	return nil
}
