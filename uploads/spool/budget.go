package spool

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// defaultBudget is what bodies in flight may take of the memory in all.
const defaultBudget = 64 << 20

// A budget bounds the memory of bodies being collected.
type budget struct {
	mu    sync.Mutex
	limit int64
	used  int64
	loads map[*load]struct{}
}

// A load is one body's share of the budget.
type load struct {
	start time.Time
	held  int64        // guarded by budget.mu
	got   atomic.Int64 // bytes received
	slow  atomic.Bool  // it is to go on in a file
}

func newBudget(limit int64) *budget {
	return &budget{limit: limit, loads: map[*load]struct{}{}}
}

func (b *budget) join(now time.Time) *load {
	l := &load{start: now}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.loads[l] = struct{}{}
	return l
}

func (b *budget) part(l *load) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= l.held
	l.held = 0
	delete(b.loads, l)
}

// take charges n bytes to l; it is false if there is no room, and l must do
// without. When three quarters are taken the slowest body is told to make room,
// before anybody has to be refused.
func (b *budget) take(l *load, n int64, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n > b.limit/4*3 {
		if slowest := b.slowest(now); slowest != nil {
			slowest.slow.Store(true)
		}
	}
	if b.used+n > b.limit {
		return false
	}
	b.used += n
	l.held += n
	return true
}

func (b *budget) give(l *load, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	l.held -= n
}

// slowest finds the body that came in at the lowest rate among those that hold
// memory and have not been told to leave it.
func (b *budget) slowest(now time.Time) (slowest *load) {
	lowest := 0.0
	for l := range b.loads {
		if l.held == 0 || l.slow.Load() {
			continue
		}
		// A millisecond keeps one that has only just begun from looking slow.
		rate := float64(l.got.Load()+1) / float64(now.Sub(l.start)+time.Millisecond)
		if slowest == nil || rate < lowest {
			slowest, lowest = l, rate
		}
	}
	return slowest
}

func (b *budget) taken() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// A buffer holds a body behind its headroom.
type buffer struct {
	b    []byte
	pool *sync.Pool
}

const (
	smallestBuffer = 4 << 10
	bufferClasses  = 9 // up to 1 MiB
)

var buffers [bufferClasses]sync.Pool

// bufferFor returns a buffer with room for n bytes behind the headroom. Sizes
// are powers of two, so that freed ones fit others, and one byte, in which a
// body of such a size finds its end.
func bufferFor(n int64) *buffer {
	class := 0
	if n > smallestBuffer+1 {
		class = bits.Len64(uint64(n-2) / smallestBuffer)
	}
	if class >= bufferClasses {
		return &buffer{b: make([]byte, headroom+n)}
	}
	pool := &buffers[class]
	if b, ok := pool.Get().(*buffer); ok {
		return b
	}
	return &buffer{b: make([]byte, headroom+smallestBuffer<<class+1), pool: pool}
}

func (b *buffer) free() {
	if b.pool != nil {
		b.pool.Put(b)
	}
}
