// Package drop publishes what administrators put into a folder.
//
// An entry is looked at when it has been still for a while. What is whole is
// published and moves to done/; what is wrong moves to rejected/, with every
// mistake in a text file beside it. Notifications of the file system only make
// this quick; a regular look at the whole folder makes it certain.
package drop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"inventorybeacon/policy"
	"inventorybeacon/policy/bundle"
	"inventorybeacon/policy/revision"
)

// Options say how a folder is watched. The zero value is usable.
type Options struct {
	Log *slog.Logger
	// Settle is how long an entry must have been still before it is read.
	// Shorter publishes sooner; longer forgives a slower copy. Default 2 s.
	Settle time.Duration
	// Wait is how long a folder may lack what it needs or names. Longer forgives
	// a slower copy; shorter says sooner what is missing. Default 60 s.
	Wait time.Duration
	// Rescan is how often the folder is looked at without any hint: on a share
	// that gives none, how long a bundle may go unnoticed; longer spares a slow
	// share. Default 10 s.
	Rescan time.Duration
}

// A Store is where bundles are published: [revision.Store].
type Store interface {
	Publish(ctx context.Context, b *bundle.Bundle, by, comment string) (revision.Result, error)
	Scratch() string
}

var _ Store = (*revision.Store)(nil)

// The folders in the drop folder.
const (
	doneDir     = "done"
	rejectedDir = "rejected"
)

// A Folder is a drop folder. One goroutine at a time may use it.
type Folder struct {
	dir     string
	store   Store
	o       Options
	entries map[string]*entry
	look    func(path string) (bundle.Look, error)
}

// An entry is something in the folder that was not decided about yet.
type entry struct {
	look  bundle.Look
	still time.Time // since when it looks like this
	retry time.Time // not before then
	fails int
}

// Open makes dir, with done and rejected in it, where missing.
func Open(dir string, store Store, o Options) (*Folder, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Settle == 0 {
		o.Settle = 2 * time.Second
	}
	if o.Wait == 0 {
		o.Wait = time.Minute
	}
	if o.Rescan == 0 {
		o.Rescan = 10 * time.Second
	}
	f := &Folder{dir: dir, store: store, o: o, entries: map[string]*entry{}, look: bundle.LookAt}
	if err := f.make(); err != nil {
		return nil, fmt.Errorf("open drop folder: %w", err)
	}
	return f, nil
}

func (f *Folder) make() error {
	return errors.Join(os.MkdirAll(filepath.Join(f.dir, doneDir), 0o755), os.MkdirAll(filepath.Join(f.dir, rejectedDir), 0o755))
}

// Scan looks at the whole folder once, at the time now, decides about every
// entry that is due, and returns when it should look again at the latest; zero
// if nothing is waiting.
func (f *Folder) Scan(ctx context.Context, now time.Time) (next time.Time, err error) {
	if err := f.make(); err != nil {
		return time.Time{}, fmt.Errorf("drop folder: %w", err)
	}
	list, err := os.ReadDir(f.dir)
	if err != nil {
		return time.Time{}, fmt.Errorf("drop folder: %w", err)
	}
	there := map[string]bool{}
	for _, d := range list {
		name := d.Name()
		if name[0] == '.' || name == doneDir || name == rejectedDir {
			continue
		}
		there[name] = true
		at := f.consider(ctx, name, now)
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for name := range f.entries {
		if !there[name] {
			delete(f.entries, name)
		}
	}
	return next, ctx.Err()
}

// consider looks at one entry and returns when to look at it again; zero if it
// was decided about.
func (f *Folder) consider(ctx context.Context, name string, now time.Time) time.Time {
	look, err := f.look(filepath.Join(f.dir, name))
	e := f.entries[name]
	if e == nil || err == nil && !e.look.Same(look) {
		e = &entry{look: look, still: now}
		f.entries[name] = e
	}
	switch {
	case errors.Is(err, fs.ErrNotExist): // gone, or changing under our hands
		return now.Add(f.o.Settle)
	case err != nil:
		if !now.Before(e.retry) { // a hint is no reason to say it again
			e.retry = f.later(name, err, e, now)
		}
		return e.retry
	}
	due := e.still.Add(f.o.Settle)
	if due.Before(e.retry) {
		due = e.retry
	}
	if now.Before(due) {
		return due
	}
	if again := f.decide(ctx, name, e, now); !again.IsZero() {
		e.retry = again
		return again
	}
	delete(f.entries, name)
	return time.Time{}
}

// decide publishes or rejects an entry; a time means that it has to wait until
// then.
func (f *Folder) decide(ctx context.Context, name string, e *entry, now time.Time) time.Time {
	b, err := bundle.OpenIn(ctx, filepath.Join(f.dir, name), f.store.Scratch())
	mayWait := e.look.Folder && now.Before(e.still.Add(f.o.Wait))
	if incomplete, ok := errors.AsType[bundle.IncompleteError](err); ok {
		if mayWait {
			return now.Add(f.o.Settle)
		}
		err = incomplete.Mistakes
	}
	mistakes, wrong := errors.AsType[bundle.Mistakes](err)
	switch {
	case ctx.Err() != nil:
		return now.Add(f.o.Settle)
	case errors.Is(err, bundle.ErrChanging):
		e.still = now // the next look says what it is now
		return now.Add(f.o.Settle)
	case wrong:
		return f.reject(name, mistakes.Error(), e, now)
	case err != nil:
		return f.later(name, err, e, now)
	}
	defer b.Close()
	if len(b.Missing) > 0 && mayWait {
		return now.Add(f.o.Settle)
	}
	return f.publish(ctx, name, b, e, now)
}

func (f *Folder) publish(ctx context.Context, name string, b *bundle.Bundle, e *entry, now time.Time) time.Time {
	res, err := f.store.Publish(ctx, b, "drop folder", name)
	switch {
	case ctx.Err() != nil:
		return now.Add(f.o.Settle)
	case errors.Is(err, policy.ErrMirror):
		return f.reject(name, err.Error(), e, now)
	case err != nil:
		return f.later(name, err, e, now)
	}
	f.o.Log.Info("bundle published", "bundle", b.Name, "revision", res.Revision.String(), "changed", res.Changed, "warnings", res.Warnings)
	// Left where it is, it will be found equal to what is in force, and moved then.
	return f.after(f.move(name, doneDir, name+"-"+res.Revision.String(), e), name, e, now)
}

// later is for what is not the bundle's fault: a full disk, a folder that may
// not be written.
func (f *Folder) later(name string, err error, e *entry, now time.Time) time.Time {
	e.fails++
	wait := min(f.o.Settle<<min(e.fails, 10), 5*time.Minute)
	f.o.Log.Error("bundle stays in the drop folder and is tried again", "entry", name, "err", err, "again_in", wait.String())
	return now.Add(wait)
}
