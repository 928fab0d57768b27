// Package backoff spaces out attempts so that senders that were cut off
// together do not come back together.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// A Backoff is exponential with full jitter: the n-th wait is anything between
// nothing and Min<<n, at most Max. There is no limit of attempts.
type Backoff struct {
	// Min bounds the first wait. A shorter one finds a blip's end sooner; a
	// longer one spares a server that is starting.
	Min time.Duration
	// Max bounds every wait, and so how long after an outage the slowest sender
	// is still waiting.
	Max time.Duration
	// Rand returns a number in [0,1); nil means math/rand/v2.
	Rand func() float64
}

// Delay returns how long to wait after n failures in a row, n ≥ 1.
func (b Backoff) Delay(n int) time.Duration {
	ceiling := min(b.Min, b.Max)
	for i := 1; i < n && ceiling < b.Max; i++ {
		ceiling = min(2*ceiling, b.Max)
	}
	r := b.Rand
	if r == nil {
		r = rand.Float64
	}
	return time.Duration(r() * float64(ceiling))
}

// Sleep waits for d and reports whether ctx let it.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}
