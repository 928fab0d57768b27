package drop

import (
	"context"
	"time"

	"github.com/fsnotify/fsnotify"
)

// debounce is how long hints are collected before the folder is looked at: a
// copy of many files makes many.
const debounce = 50 * time.Millisecond

// Run watches until ctx is done, and returns its error. Nothing else ends it:
// a folder that cannot be read is looked at again.
func (f *Folder) Run(ctx context.Context) error {
	hints := make(chan struct{}, 1)
	w := &watcher{dir: f.dir, hint: func() {
		select {
		case hints <- struct{}{}:
		default:
		}
	}}
	defer w.close()
	for {
		// What could not be made or read is told by Scan.
		if f.make() == nil {
			w.renew()
		}
		next, err := f.Scan(ctx, time.Now())
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			f.o.Log.Error("drop folder cannot be read", "err", err)
		}
		wait := f.o.Rescan
		if !next.IsZero() {
			wait = min(wait, max(time.Until(next), debounce))
		}
		if err := pause(ctx, wait, hints); err != nil {
			return err
		}
	}
}

// pause waits for a hint, but no longer than d.
func pause(ctx context.Context, d time.Duration, hints <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	case <-hints:
	}
	t.Reset(debounce)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// A watcher turns the file system's notifications into hints. It may fail, or
// lose any of them, without harm: the folder is looked at anyway.
type watcher struct {
	dir  string
	hint func()
	n    *fsnotify.Watcher
	done chan struct{}
}

// renew makes sure that the folder of that name is watched: a folder that was
// removed and made again has lost its watch without a word.
func (w *watcher) renew() {
	if w.n == nil {
		n, err := fsnotify.NewWatcher()
		if err != nil {
			return // out of watches: the rescan will do
		}
		w.n, w.done = n, make(chan struct{})
		go w.forward()
	}
	// Adding what is watched already changes nothing.
	if err := w.n.Add(w.dir); err != nil {
		w.close()
	}
}

func (w *watcher) forward() {
	defer close(w.done)
	for {
		select {
		case _, ok := <-w.n.Events:
			if !ok {
				return
			}
		case _, ok := <-w.n.Errors: // an overflow is a hint too
			if !ok {
				return
			}
		}
		w.hint()
	}
}

func (w *watcher) close() {
	if w.n == nil {
		return
	}
	w.n.Close() // what it still had to say does not matter
	<-w.done
	w.n = nil
}
