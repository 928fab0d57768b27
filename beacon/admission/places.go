package admission

import (
	"sync"

	"inventorybeacon/beacon/comeback"
)

// Places bounds the uploads that are taken at once. Worse classes get only part
// of them, so that an inventory finds one while a flood of logs does not. It may
// be used from several goroutines.
type Places struct {
	// Limit is how many there are.
	Limit int
	// Bytes bounds what the bodies of all of them add up to; 0 is no limit.
	Bytes int64

	mu    sync.Mutex
	taken int
	bytes int64
}

// share is what of the places, in eighths, a class can get. Less for logs keeps
// more free for inventories; more takes logs faster when nothing else comes.
func share(c comeback.Class) int { return [...]int{8, 7, 6}[c] }

// Enter takes a place if there is one for the class.
func (p *Places) Enter(c comeback.Class) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken >= max(min(1, p.Limit), p.Limit*share(c)/8) {
		return false
	}
	p.taken++
	return true
}

// Leave gives a place back.
func (p *Places) Leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
}

// Load adds bytes of bodies if they fit. One body always does.
func (p *Places) Load(n int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Bytes > 0 && p.bytes > 0 && p.bytes+n > p.Bytes {
		return false
	}
	p.bytes += n
	return true
}

// Unload takes them off again.
func (p *Places) Unload(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes -= n
}

// Taken returns the places and bytes in use.
func (p *Places) Taken() (places int, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken, p.bytes
}

// Half reports whether more than half of the places or bytes are taken.
func (p *Places) Half() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return 2*p.taken > p.Limit || p.Bytes > 0 && 2*p.bytes > p.Bytes
}
