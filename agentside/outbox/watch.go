package outbox

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Run takes files as they become complete, until ctx is done. Scanned is called
// after every scan. Notifications make it quick; looking again every 30 s
// makes it certain.
func (b *Outbox) Run(ctx context.Context, scanned func()) error {
	w := b.watcher()
	defer w.close()
	for failures := 0; ; {
		taken, settling, err := b.Scan(ctx, time.Now())
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wait := rescan
		if err != nil {
			failures++
			level := slog.LevelWarn
			if failures > 1 {
				level = slog.LevelDebug // said once; the status keeps saying it
			}
			b.o.Log.LogAttrs(ctx, level, "outbox not taken whole", slog.Any("err", err))
		} else {
			failures = 0
		}
		if settling > 0 {
			wait = Settle / 2
		}
		if scanned != nil && (taken > 0 || err != nil || settling == 0) {
			scanned()
		}
		w.refresh(b)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-w.events():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// watcher hears of changes; one without an inner watcher hears of none.
type watcher struct {
	inner   *fsnotify.Watcher
	changed chan struct{}
}

// watcher starts watching, if the system lets us: the scan finds everything
// without it.
func (b *Outbox) watcher() *watcher {
	w := &watcher{changed: make(chan struct{}, 1)}
	inner, err := fsnotify.NewWatcher()
	if err != nil {
		b.o.Log.Warn("outbox is not watched, only scanned", slog.Any("err", err))
		return w
	}
	w.inner = inner
	go w.forward()
	w.refresh(b)
	return w
}

// forward makes one token of any number of events. It ends when the watcher is closed.
func (w *watcher) forward() {
	for {
		select {
		case _, ok := <-w.inner.Events:
			if !ok {
				return
			}
		case _, ok := <-w.inner.Errors:
			if !ok {
				return
			}
		}
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}

func (w *watcher) events() <-chan struct{} { return w.changed }

// refresh watches folders that are new, or were removed and made again.
func (w *watcher) refresh(b *Outbox) {
	if w.inner == nil {
		return
	}
	folders, err := fs.ReadDir(b.root.FS(), ".")
	if err != nil {
		return // the next scan says so
	}
	err = w.inner.Add(b.root.Name())
	for _, f := range folders {
		if f.IsDir() {
			err = errors.Join(err, w.inner.Add(filepath.Join(b.root.Name(), f.Name())))
		}
	}
	if err != nil {
		b.o.Log.Debug("outbox folders not watched", slog.Any("err", err))
	}
}

func (w *watcher) close() {
	if w.inner != nil {
		w.inner.Close()
	}
}
