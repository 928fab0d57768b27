package catalogue

import (
	"slices"
	"sync"
	"time"
)

// backlogSize is how many events may wait to be written, at about half a KiB
// each while they do. A longer backlog rides out a longer burst of uploads
// without reading the journal again; a shorter one takes less memory.
const backlogSize = 32 << 10

// A backlog holds events in order, without gaps. Once one did not fit, all that
// follow are refused too, until somebody has decided to read the journal.
type backlog struct {
	size int // the most it holds

	mu      sync.Mutex
	chunks  [][]Event // none of them empty; they are not copied as the backlog grows
	held    int       // events in them
	came    time.Time // the last of them
	behind  bool      // events were refused
	refused time.Time // the last of them
}

// add takes an event, or reports that it has to be read from the journal.
func (b *backlog) add(e Event) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.behind || b.held >= b.size {
		b.behind, b.refused = true, time.Now()
		return false
	}
	last := len(b.chunks) - 1
	if last < 0 || len(b.chunks[last]) == cap(b.chunks[last]) {
		b.chunks = append(b.chunks, make([]Event, 0, min(max(b.held, firstChunk), batchEvents)))
		last++
	}
	b.chunks[last] = append(b.chunks[last], e)
	b.held++
	b.came = time.Now()
	return true
}

// firstChunk is how many events there is room for when one comes.
const firstChunk = 8

// take returns the first n events, or all that there are.
func (b *backlog) take(n int) []Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, b.held)
	events := make([]Event, 0, n)
	for len(events) < n {
		first := b.chunks[0]
		some := min(n-len(events), len(first))
		events = append(events, first[:some]...)
		if b.chunks[0] = first[some:]; some == len(first) {
			b.chunks = slices.Delete(b.chunks, 0, 1)
		}
	}
	b.held -= n
	return events
}

func (b *backlog) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held
}

// bursting reports whether events come one after the other, and there is room for
// more.
func (b *backlog) bursting() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held <= b.size/2 && time.Since(b.came) < lull
}

// gap reports whether events are missing behind the last that is held, and
// since when none was refused.
func (b *backlog) gap() (bool, time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.behind, b.refused
}

// fail says that events are missing: those taken last could not be written. The
// rest is given up for the journal.
func (b *backlog) fail() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.behind = true
	b.drop()
}

// resume takes events again. The journal must be read after it: it has all that
// were refused before.
func (b *backlog) resume() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.behind = false
	b.drop()
}

func (b *backlog) drop() { b.chunks, b.held = nil, 0 }
