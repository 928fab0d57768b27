package relay

import (
	"context"
	"io"

	"golang.org/x/time/rate"

	"inventorybeacon/uploads"
)

// A throttled body gives its bytes as fast as the bound of all bodies of the
// relay allows.
type throttled struct {
	uploads.Body
	ctx   context.Context
	limit *rate.Limiter
}

// minChunk and maxChunk bound what is read at once, and so what may go out in one
// burst: small enough that no transfer stands still until it is taken for dead
// while others have their turns, large enough that reading costs little.
const (
	minChunk = 1 << 10
	maxChunk = 64 << 10
)

// newThrottle returns nil for no bound.
func newThrottle(bytesPerSecond int64) *rate.Limiter {
	if bytesPerSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(bytesPerSecond), int(min(max(bytesPerSecond/16, minChunk), maxChunk)))
}

// Read implements [io.Reader].
func (t *throttled) Read(p []byte) (int, error) {
	n, err := t.Body.Read(p[:min(len(p), t.limit.Burst())])
	if wait := t.limit.WaitN(t.ctx, n); wait != nil {
		return 0, wait
	}
	return n, err
}

// ReadAt implements [io.ReaderAt].
func (t *throttled) ReadAt(p []byte, at int64) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = t.Body.ReadAt(p[n:min(len(p), n+t.limit.Burst())], at+int64(n))
		n += m
		if wait := t.limit.WaitN(t.ctx, m); wait != nil {
			return n, wait
		}
	}
	if n == len(p) && err == io.EOF {
		err = nil
	}
	return n, err
}
