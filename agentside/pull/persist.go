package pull

import (
	"context"
	"errors"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/backoff"
)

const (
	// TryTimeout bounds one walk over the whole list, up to the moment a beacon
	// begins to answer; five seconds of measuring before it make a try of 30 s. A
	// shorter one finds a beacon that has come back sooner; a longer one gives
	// slow lines and long lists a chance.
	TryTimeout = 25 * time.Second
	// TransferTimeout bounds a location that has begun to answer. A longer one
	// bears with slower lines; a shorter one ends a try sooner that a trickling
	// server holds up. The other locations are asked meanwhile.
	TransferTimeout = 5 * time.Minute
	// MaxWait is the longest wait between two tries. With two tries' time it is
	// what bounds how long after a beacon's return the slowest agent has its
	// policy: five minutes. A longer one spares the beacon, and breaks that bound.
	MaxWait = 4 * time.Minute
	// MinWait bounds the first wait.
	MinWait = time.Second
	// maxRetryAfter bounds what a beacon's Retry-After can ask for. A longer one
	// obeys an overloaded beacon better; a shorter one limits what a broken one
	// can do to a fleet.
	maxRetryAfter = time.Hour
)

// FirstContact is the rhythm in which a policy is asked for until it is had.
var FirstContact = backoff.Backoff{Min: MinWait, Max: MaxWait}

// Persist repeats something until it succeeds, however long that takes.
type Persist struct {
	Backoff backoff.Backoff
	// Wake, if not nil, ends a wait at once: the network changed, the machine
	// woke up, somebody asked.
	Wake <-chan struct{}
	// Failed, if not nil, is told of every failure: how many there were in a row,
	// the error, and when the next try is.
	Failed func(n int, err error, next time.Time)
}

// Run calls try until it returns nil or ctx is done, whose error it returns.
func (p Persist) Run(ctx context.Context, try func(context.Context) error) error {
	for n := 1; ; n++ {
		err := try(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			return nil
		}
		wait := p.wait(n, err)
		if p.Failed != nil {
			p.Failed(n, err, time.Now().Add(wait))
		}
		if !p.sleep(ctx, wait) {
			return ctx.Err()
		}
	}
}

// wait returns how long to wait after the n-th failure. A beacon that asked
// for a longer rest gets it.
func (p Persist) wait(n int, err error) time.Duration {
	d := p.Backoff.Delay(n)
	if busy, ok := errors.AsType[*uploads.RetryError](err); ok {
		d = max(d, min(busy.After, maxRetryAfter))
	}
	return d
}

// sleep reports whether ctx let it.
func (p Persist) sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-p.Wake:
	}
	return ctx.Err() == nil
}
