// Package stall cuts transfers that have stopped moving, however slow the ones
// that still move are.
package stall

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Limits say how long a transfer may stand still.
type Limits struct {
	// Idle is how long no byte may move. A shorter one finds a dead peer sooner;
	// a longer one bears with worse lines.
	Idle time.Duration
	// Answer is how long the answer may take once everything is sent. It is
	// longer, because the receiver may be waiting for its disk or its store; a
	// shorter one sends bodies again that had arrived.
	Answer time.Duration
}

// Default are the limits that fit a beacon and an object store.
var Default = Limits{Idle: 30 * time.Second, Answer: 5 * time.Minute}

// An Error says that a transfer was cut. It counts as a time-out.
type Error struct{ After time.Duration }

func (e *Error) Error() string { return fmt.Sprintf("no progress for %v", e.After) }

// Timeout implements the method that net.Error has.
func (e *Error) Timeout() bool { return true }

// A Watch guards one transfer.
type Watch struct {
	limits Limits
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

// New starts a watch. The context ends, with an [Error] as its cause, when
// the transfer stands still. The caller must call Stop.
func New(ctx context.Context, l Limits) (context.Context, *Watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &Watch{limits: l, cancel: cancel}
	w.timer = time.AfterFunc(l.Idle, func() { cancel(&Error{l.Idle}) })
	return ctx, w
}

// Moved notes that bytes moved.
func (w *Watch) Moved() { w.timer.Reset(w.limits.Idle) }

// Sent notes that everything is sent and that the answer is awaited.
func (w *Watch) Sent() { w.timer.Reset(w.limits.Answer) }

// Stop ends the watch and its context.
func (w *Watch) Stop() {
	w.timer.Stop()
	w.cancel(context.Canceled)
}

// Reader returns r, of size bytes, watched: every read moves, and the one that
// reaches size is the last thing sent.
func (w *Watch) Reader(r io.Reader, size int64) io.Reader {
	return &reader{watch: w, r: r, left: size}
}

type reader struct {
	watch *Watch
	r     io.Reader
	left  int64
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.left -= int64(n)
	if r.left <= 0 {
		r.watch.Sent()
	} else {
		r.watch.Moved()
	}
	return n, err
}

// Cause returns why ctx ended if a watch ended it, and err otherwise.
func Cause(ctx context.Context, err error) error {
	if stalled, ok := context.Cause(ctx).(*Error); ok {
		return stalled
	}
	return err
}
