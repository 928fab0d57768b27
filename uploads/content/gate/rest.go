package gate

import (
	"context"
	"time"

	"inventorybeacon/uploads/backoff"
)

const (
	// crowd is how many files must wait before checks make way for uploads. A larger
	// one lets more pass at once; a smaller one spares shorter bursts.
	crowd = 64
	// leisure is how many times as long as a check took its worker rests while
	// uploads come one after the other. More leaves a burst more of the processor;
	// less lets its files go on sooner.
	leisure = 9
	// longestRest bounds one rest, so that the end of a burst is soon seen.
	longestRest = 250 * time.Millisecond
	// calm is how long no file may have come for a burst to be over, and patience how
	// long checks make way for one burst.
	calm     = time.Second
	patience = 30 * time.Second
)

// A burst is a time in which files come one after the other. A sender waits for
// its answer; nobody waits for a check.
type burst struct {
	began, came time.Time
}

func (b *burst) more(now time.Time) {
	if now.Sub(b.came) > calm {
		b.began = now
	}
	b.came = now
}

func (b *burst) on(now time.Time) bool {
	return now.Sub(b.came) <= calm && now.Sub(b.began) <= patience
}

// rest keeps a worker from its next check for a while, if uploads need the
// processor more, and then gives it back.
func (g *Gate) rest(ctx context.Context, took time.Duration) {
	g.mu.Lock()
	rest := len(g.open) > crowd && g.burst.on(time.Now())
	g.mu.Unlock()
	if rest {
		backoff.Sleep(ctx, min(leisure*took, longestRest))
	}
	g.mu.Lock()
	g.busy--
	g.mu.Unlock()
	notify(g.wake)
}
