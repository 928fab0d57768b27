package beacon

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"inventorybeacon/beacon/admission"
)

// turnedEvery is how often the log says that senders are turned away by a limit.
// Each of them in a line of its own would be a load, and bury everything else.
const turnedEvery = 10 * time.Second

// A turned sums up refusals by limits.
type turned struct {
	mu    sync.Mutex
	said  time.Time
	count map[admission.Reason]int
}

// note counts a refusal and returns what there is to say by now, if there is.
func (t *turned) note(now time.Time, r admission.Reason) map[admission.Reason]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count == nil {
		t.count = map[admission.Reason]int{}
	}
	t.count[r]++
	if now.Sub(t.said) < turnedEvery {
		return nil
	}
	said := t.count
	t.said, t.count = now, nil
	return said
}

func (a *Agents) logTurned(ctx context.Context, r admission.Reason, err error) {
	said := a.turned.note(time.Now(), r)
	if said == nil {
		return
	}
	attrs := []slog.Attr{slog.Any("err", err)}
	for _, r := range admission.Reasons() {
		if n := said[r]; n > 0 {
			attrs = append(attrs, slog.Int(string(r), n))
		}
	}
	a.Log.LogAttrs(ctx, slog.LevelWarn, "senders are turned away", attrs...)
}
