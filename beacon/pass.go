package beacon

import (
	"sync"
	"time"

	"inventorybeacon/beacon/admission"
	"inventorybeacon/beacon/comeback"
)

const (
	// collected is how much of a body may arrive without a place: a slow sender of
	// a small file costs memory, never a place.
	collected = 64 << 10
	// quick is how long an upload keeps its place while its first bytes collect.
	// A shorter time frees places of slow senders sooner; a longer one counts more
	// of those that are merely far away.
	quick = time.Second
)

// A pass is an upload's leave to come in, and what it has taken for that.
type pass struct {
	a      *Agents
	caller comeback.Caller
	source string
	share  admission.Share
	quota  bool // the source has a quota

	mu    sync.Mutex
	timer *time.Timer // ends the time in which it is quick
	state passState
	large bool
	// counted says that the schedule has been told of its place.
	counted bool
	read    int64
	bytes   int64 // counted as in flight, and against the quota
}

type passState uint8

const (
	out      passState = iota // has nothing
	seated                    // has a place
	crawling                  // is slow, and has none
)

// enter takes what an upload of an announced length needs.
func (p *pass) enter(length int64) error {
	g := &p.a.gate
	if g.quota.Held != nil {
		if err := g.quota.Enter(p.source, p.share, max(length, 0)); err != nil {
			return p.a.full(err, p.caller)
		}
		p.quota = true
	}
	p.bytes = max(length, 0)
	err := p.place()
	if err != nil && p.quota {
		g.quota.Leave(p.source, p.bytes)
	}
	return err
}

func (p *pass) place() error {
	g := &p.a.gate
	if !g.places.Enter(p.caller.Class) {
		return crowded(g.returns, p.caller, "too many uploads at once", admission.InFlight)
	}
	if !g.places.Load(p.bytes) {
		g.places.Leave()
		return crowded(g.largeReturns, p.caller, "too many bytes at once", admission.BytesFlight)
	}
	if !p.a.drain.enter() {
		g.places.Unload(p.bytes)
		g.places.Leave()
		return p.a.stopping(p.caller)
	}
	p.state = seated
	p.timer = time.AfterFunc(quick, p.slow)
	return nil
}

// slow gives up the place of an upload whose first bytes take long.
func (p *pass) slow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != seated || p.read >= collected || !p.a.gate.crawling.enter() {
		return
	}
	p.a.gate.places.Leave()
	p.state = crawling
	// Its place serves the next one: the pace is that of places, not of slow senders.
	p.counted = true
	p.a.gate.returns.Served(time.Now())
}

// moved counts bytes of the body as they come, before more is read. A body that
// turns out to be large waits its turn here.
func (p *pass) moved(n int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read += int64(n)
	if p.read < collected {
		return nil
	}
	if over := p.read - p.bytes; over > 0 {
		if err := p.grow(over); err != nil {
			return err
		}
	}
	return p.widen()
}

// grow counts bytes that were not announced.
func (p *pass) grow(n int64) error {
	g := &p.a.gate
	if !g.places.Load(n) {
		return crowded(g.largeReturns, p.caller, "too many bytes at once", admission.BytesFlight)
	}
	if p.quota {
		if err := g.quota.Grow(p.source, p.share, n); err != nil {
			g.places.Unload(n)
			return p.a.full(err, p.caller)
		}
	}
	p.bytes += n
	return nil
}

// widen takes a large body's place.
func (p *pass) widen() error {
	g := &p.a.gate
	if p.large {
		return nil
	}
	if p.state == crawling {
		if !g.places.Enter(p.caller.Class) {
			return crowded(g.returns, p.caller, "too many uploads at once", admission.InFlight)
		}
		g.crawling.leave()
		p.state = seated
	}
	if !g.large.Enter(comeback.Inventory) {
		return crowded(g.largeReturns, p.caller, "too many large uploads at once", admission.LargeFlight)
	}
	p.large = true
	return nil
}

// complete says that the body is there. A small one needs no place any more but
// keeps the one it has: storing it is quick.
func (p *pass) complete() {
	p.timer.Stop()
}

// served tells the schedules that one more was taken.
func (p *pass) served() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if !p.counted {
		p.counted = true
		p.a.gate.returns.Served(now)
	}
	if p.large {
		p.a.gate.largeReturns.Served(now)
		p.a.gate.largeReturns.Admit(now, p.caller)
	}
}

// claim counts the upload against the source that its content gave it.
func (p *pass) claim(source string) error {
	if !p.quota || source == p.source {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.a.gate.quota.Enter(source, p.share, p.bytes); err != nil {
		return p.a.full(err, p.caller)
	}
	p.a.gate.quota.Leave(p.source, p.bytes)
	p.source = source
	return nil
}

// leave gives back everything.
func (p *pass) leave() {
	p.timer.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	g := &p.a.gate
	switch p.state {
	case seated:
		g.places.Leave()
	case crawling:
		g.crawling.leave()
	}
	p.state = out
	if p.large {
		g.large.Leave()
	}
	if p.quota {
		g.quota.Leave(p.source, p.bytes)
	}
	g.places.Unload(p.bytes)
	p.a.drain.leave()
}
