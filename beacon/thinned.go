package beacon

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A log about single files says the same at most thinBurst times in thinEvery. A
// fleet that sends bad files must not bury everything else; each is in the
// catalogue, and counted by metrics.
const (
	thinBurst = 20
	thinEvery = time.Minute
)

// thin returns a log that leaves lines out where one message comes again and
// again. The next of them says how many were; at level debug all are there.
func thin(l *slog.Logger) *slog.Logger {
	return slog.New(thinned{l.Handler(), &repeats{of: map[string]*repeat{}}})
}

// A thinned passes on what repeats lets through.
type thinned struct {
	slog.Handler
	repeats *repeats
}

func (h thinned) Handle(ctx context.Context, r slog.Record) error {
	pass, left := h.repeats.note(r.Time, r.Message)
	if left > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("left_out", left))
	}
	if !pass {
		r.Level = slog.LevelDebug
		if !h.Enabled(ctx, r.Level) {
			return nil
		}
	}
	return h.Handler.Handle(ctx, r)
}

func (h thinned) WithAttrs(attrs []slog.Attr) slog.Handler {
	return thinned{h.Handler.WithAttrs(attrs), h.repeats}
}

func (h thinned) WithGroup(name string) slog.Handler {
	return thinned{h.Handler.WithGroup(name), h.repeats}
}

// repeats counts lines by message. Messages are constants, so there are few.
type repeats struct {
	mu sync.Mutex
	of map[string]*repeat
}

type repeat struct {
	since      time.Time
	said, left int
}

// note counts a line and reports whether it is to be said, and how many were left
// out before it.
func (c *repeats) note(now time.Time, message string) (pass bool, left int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.of[message]
	if r == nil || now.Sub(r.since) >= thinEvery {
		if r != nil {
			left = r.left
		}
		r = &repeat{since: now}
		c.of[message] = r
	}
	if r.said == thinBurst {
		r.left++
		return false, 0
	}
	r.said++
	return true, left
}
