package receipts

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"inventorybeacon/uploads"
)

// Append adds entries; they are durable on return. One of an upload that is
// there replaces it. After an error none of them counts and Append may be tried
// again.
func (a *Archive) Append(entries []*Entry) error {
	if len(entries) == 0 {
		return nil
	}
	a.adding.Lock()
	defer a.adding.Unlock()
	if a.isClosed() {
		return fmt.Errorf("append receipts: %w", uploads.ErrClosed)
	}
	if err := a.sweep(); err != nil {
		return err
	}
	if l := a.active(); l.count >= a.o.logEntries || !l.usable() {
		a.turn()
	}
	if err := a.active().append(entries, a.Last()); err != nil {
		return err
	}
	a.kick()
	return nil
}

// Prune forgets uploads to which nothing has happened since before: they were
// received, left, and were last heard of earlier. That is done in the
// background, where it costs little: some of them stay until a quarter of the
// receipts beside them are due as well.
func (a *Archive) Prune(before time.Time) error {
	a.adding.Lock()
	defer a.adding.Unlock()
	if a.isClosed() {
		return fmt.Errorf("forget receipts: %w", uploads.ErrClosed)
	}
	if a.Len() == 0 {
		return nil
	}
	if err := a.sweep(); err != nil {
		return err
	}
	a.mu.Lock()
	a.horizon = before
	a.mu.Unlock()
	if l := a.active(); isWorn(l.ages, l.count, before) {
		a.turn()
	}
	if err := a.active().prepare(a.Last()); err != nil { // see job.run
		return fmt.Errorf("prepare receipts: %w", err)
	}
	a.kick()
	return nil
}

// isWorn says whether so many of n receipts are due to be forgotten that those
// which stay are worth writing again.
func isWorn(a ages, n int, before time.Time) bool {
	due := a.before(before)
	return due > 0 && due*wornShare >= n
}

// wornShare of a file's receipts have to be due. A smaller part would write the
// others more often; a larger one would keep more of what is due.
const wornShare = 4

// active is the log that is appended to.
func (a *Archive) active() *log {
	v := a.look()
	defer a.leave(v)
	return v.logs[len(v.logs)-1]
}

// turn begins another log, whose file is made when something is appended to it.
// The one before becomes a run.
func (a *Archive) turn() {
	l := a.newLog()
	a.change(func(old *view) *view { return &view{logs: append(slices.Clip(old.logs), l), runs: old.runs} })
}

// sweep removes what merges that were cut short have left, and makes durable
// what is there, before anything new is.
func (a *Archive) sweep() error {
	if a.swept {
		return nil
	}
	for _, name := range a.stale {
		if err := a.disk.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.log.Warn("leftover not removed", "file", name, "err", err)
		}
	}
	if err := a.disk.SyncDir(a.dir); err != nil {
		return fmt.Errorf("sync receipts: %w", err)
	}
	if !a.marked && !a.hasOld() {
		if err := a.mark(); err != nil {
			return err
		}
	}
	a.swept, a.stale = true, nil
	return nil
}

// hasOld says whether the log of version 1 is still needed.
func (a *Archive) hasOld() bool {
	v := a.look()
	defer a.leave(v)
	return v.logs[0].number == 0
}

// mark writes the mark, in the place of the log of version 1.
func (a *Archive) mark() error {
	name := a.path(markName)
	err := a.disk.Remove(name + tempSuffix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("mark receipts: %w", err)
	}
	f, err := a.disk.Create(name + tempSuffix)
	if err != nil {
		return fmt.Errorf("mark receipts: %w", err)
	}
	_, err = f.WriteAt(newLogHeader(0), 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = a.disk.Rename(name+tempSuffix, name)
	}
	if err == nil {
		err = a.disk.SyncDir(a.dir)
	}
	if err != nil {
		return fmt.Errorf("mark receipts: %w", err)
	}
	return nil
}
