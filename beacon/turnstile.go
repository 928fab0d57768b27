package beacon

import (
	"context"
	"net/http"
	"runtime"
	"sync"
)

// A turnstile lets few requests with a body be decided about at a time. A burst
// of thousands then waits here, where it costs nothing, and not for the CPU,
// where policy downloads would have to queue behind it.
type turnstile chan struct{}

// perCPU requests are decided about at a time. Fewer keep downloads quicker under
// a flood; more use a machine better whose disk answers slowly.
const perCPU = 4

func newTurnstile() turnstile { return make(turnstile, perCPU*runtime.GOMAXPROCS(0)) }

// A turn is a request's while it is decided about. Nil is no turn.
type turn struct {
	gate turnstile
	once sync.Once
}

// enter waits for a turn; without one, if the request ends first, nothing will
// come of it anyway.
func (t turnstile) enter(ctx context.Context) *turn {
	select {
	case t <- struct{}{}:
		return &turn{gate: t}
	case <-ctx.Done():
		return nil
	}
}

// leave lets the next one in. It may be called again.
func (t *turn) leave() {
	if t != nil {
		t.once.Do(func() { <-t.gate })
	}
}

type turnKey struct{}

func withTurn(r *http.Request, t *turn) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), turnKey{}, t))
}

// turnOf returns the turn that a request has, if it has one.
func turnOf(r *http.Request) *turn {
	t, _ := r.Context().Value(turnKey{}).(*turn)
	return t
}
