package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/content"
	"inventorybeacon/uploads/spool"
)

// readTries is how often a file that cannot be read is tried before it goes on
// unchecked: then whoever it goes to has the same trouble, and says so.
const readTries = 5

// grace is how long a check that was told to end may take for it. One that does
// not end is left to itself.
const grace = time.Second

// settle checks a file and does what its rule asks for. An error means that the
// file is to be settled later, and must not be shown.
func (g *Gate) settle(ctx context.Context, seq uint64, tries int) error {
	u, held := g.o.Queue.Lookup(seq)
	if !held {
		return nil
	}
	rule := g.o.Rules.For(u)
	if rule == content.Off {
		return nil
	}
	err := g.check(ctx, u)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		g.count(func(s *Stats) { s.Sound++ })
		return nil
	case errors.Is(err, uploads.ErrUnknown):
		return nil
	case errors.Is(err, uploads.ErrContent) && rule == content.Refuse:
		err = g.refuse(u, content.Words(err))
	case errors.Is(err, uploads.ErrContent):
		err = g.flag(u, content.Words(err))
	case errors.Is(err, errUnread) && tries+1 < readTries:
		return err
	default:
		g.o.Log.Error("content check failed, the file goes on", append(about(u), slog.Any("err", err))...)
		g.count(func(s *Stats) { s.Failed++ })
		err = g.o.Queue.Flag(u.Seq, "content not checked: "+firstLine(err))
	}
	if errors.Is(err, uploads.ErrUnknown) {
		return nil
	}
	return err
}

func (g *Gate) count(f func(*Stats)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(&g.stats)
}

var (
	// errUnread means that the file could not be read.
	errUnread = errors.New("the file cannot be read")
	// errCrashed means that the check did not end as it should.
	errCrashed = errors.New("the check crashed")
	// errTooLong means that the budget was not enough.
	errTooLong = errors.New("the check took too long")
)

// check judges a file within its budget.
func (g *Gate) check(ctx context.Context, u uploads.Upload) error {
	body, err := g.o.Queue.Body(u.Seq)
	if err != nil {
		return unread(err)
	}
	began := time.Now()
	defer func() { g.count(func(s *Stats) { s.Busy += time.Since(began) }) }()
	ctx, cancel := context.WithTimeout(ctx, g.o.Budget)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- g.judge(ctx, u, body) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		select {
		case <-done:
		case <-time.After(grace):
		}
		return fmt.Errorf("%w: more than %v", errTooLong, g.o.Budget)
	}
	switch {
	case err == nil, errors.Is(err, uploads.ErrContent), errors.Is(err, errCrashed):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: more than %v", errTooLong, g.o.Budget)
	}
	return unread(err)
}

func unread(err error) error {
	if errors.Is(err, uploads.ErrUnknown) {
		return err
	}
	return fmt.Errorf("%w: %w", errUnread, err)
}

// judge survives whatever the check does.
func (g *Gate) judge(ctx context.Context, u uploads.Upload, body uploads.Body) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errCrashed, r)
			g.o.Log.Error("content check crashed", append(about(u), slog.String("stack", string(debug.Stack())))...)
		}
	}()
	defer body.Close()
	return g.o.Check(ctx, u, body)
}

// flag marks a bad file that goes on.
func (g *Gate) flag(u uploads.Upload, why string) error {
	if err := g.o.Queue.Flag(u.Seq, why); err != nil {
		return err
	}
	g.count(func(s *Stats) { s.Flagged++ })
	g.o.Log.Warn("upload flagged", append(about(u), slog.String("reason", why))...)
	return nil
}

// refuse moves a bad file to the quarantine. It is kept there before it leaves
// the queue; what is kept already is not kept twice.
func (g *Gate) refuse(u uploads.Upload, why string) error {
	body, err := g.o.Queue.Body(u.Seq)
	if err != nil {
		return err
	}
	if err := errors.Join(g.o.Quarantine.Keep(u, body, Sink, why), body.Close()); err != nil {
		return err
	}
	if err := g.o.Queue.Lose(u.Seq, spool.LossRefused, Sink+": "+why); err != nil {
		return err
	}
	g.count(func(s *Stats) { s.Refused++ })
	g.o.Log.Error("upload quarantined", append(about(u), slog.String("reason", why))...)
	return nil
}

// firstLine leaves out what a crash has to say behind its first line.
func firstLine(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\n")
	return s
}

func about(u uploads.Upload) []any {
	return []any{
		slog.Uint64("seq", u.Seq), slog.String("kind", u.Kind), slog.String("file", u.Name.String()),
		slog.String("device", u.Device.String()), slog.String("receipt", uploads.ReceiptID(u.Kind, u.Name, u.Digest)),
	}
}
