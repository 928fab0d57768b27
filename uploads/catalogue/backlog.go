package catalogue

import (
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
	events  []Event
	came    time.Time // the last of them
	behind  bool      // events were refused
	refused time.Time // the last of them
}

// add takes an event, or reports that it has to be read from the journal.
func (b *backlog) add(e Event) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.behind || len(b.events) >= b.size {
		b.behind, b.refused = true, time.Now()
		return false
	}
	b.events, b.came = append(b.events, e), time.Now()
	return true
}

// take returns the first n events, or all that there are.
func (b *backlog) take(n int) []Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, len(b.events))
	events := b.events[:n:n]
	b.events = b.events[n:]
	if len(b.events) == 0 {
		b.events = nil // a burst's memory is not kept
	}
	return events
}

func (b *backlog) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.events)
}

// bursting reports whether events come one after the other, and there is room for
// more.
func (b *backlog) bursting() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.events) <= b.size/2 && time.Since(b.came) < lull
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
	b.behind, b.events = true, nil
}

// resume takes events again. The journal must be read after it: it has all that
// were refused before.
func (b *backlog) resume() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.behind, b.events = false, nil
}
