package beacon

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"inventorybeacon/beacon/admission"
	"inventorybeacon/uploads/backoff"
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

// glimpses is how many of the refused are recorded in a second while a limit
// refuses many: those of a flood tell no more than some of it, and cost as much as
// what is taken.
const glimpses = 50

// telling reports whether a refusal is worth recording.
func (a *Agents) telling(err error) bool {
	v, ok := errors.AsType[*verdict](err)
	return !ok || v.reason == "" || a.glimpses.Allow()
}

// earlyWait is about how long a sender that comes before its time waits for the
// answer.
// Longer costs the beacon less; shorter keeps less of a sender that cannot wait.
const earlyWait = 2 * time.Second

// dampen lets a sender that asks again before its time wait for the answer, so
// that asking without end is no load. Each waits a little differently, else all
// would be answered, and ask again, at once.
func dampen(r *http.Request, err error) {
	if v, ok := errors.AsType[*verdict](err); ok && v.early {
		backoff.Sleep(r.Context(), earlyWait/2+rand.N(earlyWait))
	}
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
