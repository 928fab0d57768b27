package beacon

import (
	"context"
	"net/http"
)

// A turnstile lets few requests with a body be decided about at a time. A burst
// of thousands then waits here, where it costs nothing, and not for the CPU,
// where policy downloads would have to queue behind it.
type turnstile chan struct{}

// perCPU requests are decided about at a time. Fewer keep downloads quicker under
// a flood; more use a machine better whose disk answers slowly.
const perCPU = 4

func newTurnstile() turnstile { return make(turnstile, perCPU*processors) }

// A turn is a request's while it is decided about. Only the request's own
// goroutine uses it; nil is none.
type turn struct {
	gate turnstile
	held bool
}

// take waits for the turn. If the request ends first it goes on without: nothing
// will come of it anyway.
func (t *turn) take(ctx context.Context) {
	if t == nil || t.held {
		return
	}
	select {
	case t.gate <- struct{}{}:
		t.held = true
	case <-ctx.Done():
	}
}

// leave lets the next one in. It may be called again.
func (t *turn) leave() {
	if t != nil && t.held {
		<-t.gate
		t.held = false
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
