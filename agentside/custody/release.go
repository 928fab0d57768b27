package custody

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/custody"
	"inventorybeacon/uploads/spool"
)

// Status is what a keeper holds on to.
type Status struct {
	Level   string // that a file must reach
	Files   int    // that a beacon has and that have not
	Bytes   int64
	Sent    uint64    // files that a beacon took since New
	LastAck time.Time // when a beacon last said that it has a file
}

// Status returns what is held at this instant.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := Status{Level: k.level, Files: len(k.held), Sent: k.sent, LastAck: k.lastAck}
	for _, f := range k.held {
		s.Bytes += f.upload.Size
	}
	return s
}

// Observe takes the spool's events: what left it is held no longer.
func (k *Keeper) Observe(e spool.Event) {
	if !e.Left {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.held, e.Upload.Seq)
}

// Require says who must have a file before it is forgotten, from now on. What
// has got so far already is let go of.
func (k *Keeper) Require(level string) error {
	k.mu.Lock()
	k.level = level
	k.mu.Unlock()
	return k.release(k.those(func(f *file) bool { return custody.Reached(f.holders, level) }))
}

// Expire lets go of files that were accepted before a time, as far as they got:
// to give them up for their age would call them lost.
func (k *Keeper) Expire(before time.Time) error {
	return k.release(k.those(func(f *file) bool { return f.upload.Received.Before(before) }))
}

// MakeRoom lets go of files of at least so many bytes, if it holds as many, the
// oldest first and as far as they got.
func (k *Keeper) MakeRoom(bytes int64) error {
	return k.release(k.those(func(f *file) bool {
		bytes -= f.upload.Size
		return bytes+f.upload.Size > 0
	}))
}

// those returns the held files that fit, the oldest first.
func (k *Keeper) those(fits func(*file) bool) []*file {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all, out []*file
	for _, f := range k.held {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *file) int { return cmp.Compare(a.upload.Seq, b.upload.Seq) })
	for _, f := range all {
		if fits(f) {
			out = append(out, f)
		}
	}
	return out
}

// release counts files as delivered, as far as they got.
func (k *Keeper) release(files []*file) error {
	if len(files) == 0 {
		return nil
	}
	var marks []spool.Mark
	k.mu.Lock()
	level := k.level
	for _, f := range files {
		marks = append(marks, spool.Mark{Seq: f.upload.Seq, Custody: slices.Clone(f.holders)})
	}
	k.mu.Unlock()
	if err := k.o.Spool.Deliver(k.o.Name, marks); err != nil {
		return fmt.Errorf("let go of files that a beacon has: %w", err)
	}
	for i, f := range files {
		k.drop(f)
		if got := marks[i].Custody; !custody.Reached(got, level) {
			k.o.Log.Warn("file forgotten before it got as far as the policy asks: it was old, or room ran out",
				slog.String("kind", f.upload.Kind), slog.String("name", f.upload.Name.String()), slog.String("sha256", f.upload.Digest.String()),
				slog.String("reached", custody.Highest(got)), slog.String("asked", level))
		}
	}
	return nil
}

func (k *Keeper) drop(f *file) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.held, f.upload.Seq)
}

// A Room is a bounded spool that parts with what a beacon has before it gives up
// anything else.
type Room struct {
	*spool.Spool
	Keeper *Keeper
	// MaxBytes is the spool's own bound.
	MaxBytes int64
}

// Accept is the spool's, with room made for it.
func (r Room) Accept(ctx context.Context, d spool.Draft, body io.Reader) (uploads.Receipt, error) {
	if excess := r.Stats().PendingBytes + max(d.Length, 0) - r.MaxBytes; excess > 0 {
		if err := r.Keeper.MakeRoom(excess); err != nil {
			return uploads.Receipt{}, err
		}
	}
	return r.Spool.Accept(ctx, d, body)
}
