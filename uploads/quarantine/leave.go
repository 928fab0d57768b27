package quarantine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/durablefile"
)

// Release gives an entry back: once accept has taken its body, and returned nil
// because it is durable elsewhere, it is no longer here; by says who wants it so.
// Nothing is kept meanwhile, so that what is refused again comes back whole. If the process ends
// in between, the entry is still here.
func (s *Store) Release(id, by string, accept func(Entry, uploads.Body) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.here(id)
	if err != nil {
		return err
	}
	body, err := s.Body(id)
	if err != nil {
		return err
	}
	if err := errors.Join(accept(e, body), body.Close()); err != nil {
		return fmt.Errorf("release %s: %w", id, err)
	}
	if err := s.forget(e); err != nil {
		return fmt.Errorf("release %s: it is released, and still in quarantine: %w", id, err)
	}
	s.note(e, Departure{How: LeftReleased, By: by})
	return nil
}

// note counts and tells that a file left.
func (s *Store) note(e Entry, d Departure) {
	s.gone[d.How]++
	level := slog.LevelWarn
	if d.How == LeftReleased {
		level = slog.LevelInfo
	}
	s.o.Log.Log(context.Background(), level, "file left the quarantine", "how", d.How, "by", d.By, "receipt", e.ID, "kind", e.Kind, "file", e.Name.String(),
		"device", e.Device.String(), "sink", e.Sink, "reason", e.Reason)
}

// Forget removes an entry whose body is durable elsewhere.
func (s *Store) Forget(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.here(id)
	if err != nil {
		return err
	}
	if err := s.forget(e); err != nil {
		return fmt.Errorf("forget %s: %w", id, err)
	}
	return nil
}

// forget removes the sidecar first: a body alone is removed by the next Open.
func (s *Store) forget(e Entry) error {
	if err := s.unwrite(e); err != nil {
		return err
	}
	s.bytes -= s.files[e.ID].size
	delete(s.files, e.ID)
	return errors.Join(durablefile.SyncDir(s.root, "."), s.root.Remove(e.ID+bodySuffix))
}

// unwrite puts the sidecar of the stay before this one in its place, if there is
// one: that somebody dropped the file then stays on record.
func (s *Store) unwrite(e Entry) error {
	n := len(e.Earlier)
	if n == 0 || e.Earlier[n-1].Left == nil {
		return s.root.Remove(e.ID + sidecarSuffix)
	}
	former := e.Earlier[n-1]
	former.Earlier = e.Earlier[:n-1]
	if err := s.write(former); err != nil {
		return err
	}
	s.left[e.ID] = brief{at: former.Left.At}
	return nil
}

// here returns an entry whose body is here.
func (s *Store) here(id string) (Entry, error) {
	e, err := s.Get(id)
	if err == nil && e.Left != nil {
		err = fmt.Errorf("quarantine %s: %w: its bytes left (%s) at %s", id, uploads.ErrUnknown, e.Left.How, e.Left.At.Format(time.RFC3339))
	}
	return e, err
}

// Drop deletes an entry's body for good; by says who wants it so.
func (s *Store) Drop(id, by string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.here(id); err != nil {
		return err
	}
	return s.depart(id, Departure{How: LeftOperator, By: by})
}

// depart deletes a body. The sidecar says so before it is true.
func (s *Store) depart(id string, d Departure) error {
	e, err := s.Get(id)
	if err != nil {
		return err
	}
	d.At = time.Now().UTC().Truncate(time.Millisecond)
	e.Left = &d
	if err := s.write(e); err != nil {
		return fmt.Errorf("quarantine %s: %w", id, err)
	}
	s.bytes -= s.files[id].size
	delete(s.files, id)
	s.left[id] = brief{at: d.At}
	s.note(e, d)
	if err := s.root.Remove(id + bodySuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("quarantine %s: %w", id, err)
	}
	return nil
}

// Expire lets go what is older than Options.MaxAge.
func (s *Store) Expire(now time.Time) error {
	if s.o.MaxAge <= 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, id := range oldest(s.files) {
		if now.Sub(s.files[id].at) <= s.o.MaxAge {
			break
		}
		errs = append(errs, s.depart(id, Departure{How: LeftAge}))
	}
	for _, id := range oldest(s.left) {
		if now.Sub(s.left[id].at) <= s.o.MaxAge {
			break
		}
		errs = append(errs, s.clear(id))
	}
	return errors.Join(errs...)
}

// bound lets the oldest go until the rest is within bounds. One that cannot leave
// stays, and the next oldest goes instead: what came in is kept all the same.
func (s *Store) bound() {
	over := func() bool {
		return s.o.MaxFiles > 0 && len(s.files) > s.o.MaxFiles || s.o.MaxBytes > 0 && s.bytes > s.o.MaxBytes
	}
	var errs []error
	if over() {
		for _, id := range oldest(s.files) {
			if !over() {
				break
			}
			errs = append(errs, s.depart(id, Departure{How: LeftQuota}))
		}
	}
	if extra := len(s.left) - s.o.MaxFiles; s.o.MaxFiles > 0 && extra > 0 {
		for _, id := range oldest(s.left)[:extra] {
			errs = append(errs, s.clear(id))
		}
	}
	if err := errors.Join(errs...); err != nil {
		s.o.Log.Error("a file cannot leave the quarantine, which is full", slog.Any("err", err))
	}
}

// clear removes the sidecar of a file that left.
func (s *Store) clear(id string) error {
	if err := s.root.Remove(id + sidecarSuffix); err != nil {
		return fmt.Errorf("quarantine %s: %w", id, err)
	}
	delete(s.left, id)
	return nil
}

func oldest(m map[string]brief) []string {
	ids := make([]string, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int { return m[a].at.Compare(m[b].at) })
	return ids
}
