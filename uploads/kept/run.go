package kept

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/backoff"
)

// An Index is told what is kept.
type Index interface {
	// ReplaceKept forgets everything and takes the store's entries.
	ReplaceKept(context.Context) error
	// ChangeKept forgets those with the receipts that left, and then takes more, if
	// there are any. After an error everything is told anew.
	ChangeKept(ctx context.Context, added []Entry, left []string) error
}

const (
	// gather is how long a new copy waits for others before what it supersedes
	// leaves. Longer takes more disk in a burst, shorter more passes.
	gather = time.Second
	// agesEvery is how often age is looked at.
	agesEvery = time.Hour
)

// retry spaces attempts while the index takes nothing.
var retry = backoff.Backoff{Min: time.Second, Max: time.Minute}

// Run reads what is here, lets go of what is superseded, too old or too much, and
// tells the index, until ctx is done; it returns ctx's error.
func (s *Store) Run(ctx context.Context, index Index) error {
	s.load()
	known, failures := false, 0
	for {
		s.Trim(time.Now())
		if err := s.tell(ctx, index, known); err != nil && ctx.Err() == nil {
			known, failures = false, failures+1
			s.log.Warn("kept files not indexed; trying again", slog.Any("err", err))
			if !backoff.Sleep(ctx, retry.Delay(failures)) {
				return ctx.Err()
			}
			continue
		}
		known, failures = true, 0
		timer := time.NewTimer(agesEvery)
		select {
		case <-ctx.Done():
		case <-s.wake:
			backoff.Sleep(ctx, gather)
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// load reads the sidecars of what was here when the store was opened.
func (s *Store) load() {
	s.mu.Lock()
	var all []*file
	for _, f := range s.files {
		if f.line.kind == "" {
			all = append(all, f)
		}
	}
	s.mu.Unlock()
	for _, f := range all {
		e, err := s.read(f)
		s.mu.Lock()
		switch {
		case s.files[f.id] != f: // it left meanwhile
		case err == nil:
			f.describe(e, s.o.Newest(e))
			s.stats.Bytes += onDisk(e.Size)
			s.enter(f)
		case errors.Is(err, errDamaged):
			s.log.Error("kept file is damaged and leaves", slog.String("receipt", f.id), slog.Any("err", err))
			s.stats.Damaged++
			s.remove(f)
		case !errors.Is(err, uploads.ErrUnknown):
			s.log.Warn("kept file is left alone", slog.String("receipt", f.id), slog.Any("err", err))
		}
		s.mu.Unlock()
	}
}

// tell passes on what changed, or everything.
func (s *Store) tell(ctx context.Context, index Index, known bool) error {
	s.mu.Lock()
	added, left := s.added, s.lost
	s.added, s.lost = nil, nil
	s.mu.Unlock()
	if !known {
		if err := index.ReplaceKept(ctx); err != nil {
			return fmt.Errorf("index what is kept: %w", err)
		}
		return nil
	}
	var entries []Entry
	for _, id := range added {
		s.mu.Lock()
		f := s.files[id]
		s.mu.Unlock()
		if f == nil {
			continue // superseded already
		}
		if e, err := s.read(f); err == nil {
			entries = append(entries, e)
		}
	}
	if err := index.ChangeKept(ctx, entries, left); err != nil {
		return fmt.Errorf("index what is kept: %w", err)
	}
	return nil
}
