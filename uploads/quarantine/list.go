package quarantine

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/durablefile"
)

// List returns the entries whose bodies are here, the latest first; left asks for
// the stays that ended instead, of which one file may have several. Sidecars that
// cannot be read are left out of the list and named in the error.
func (s *Store) List(left bool) ([]Entry, error) {
	entries, err := s.entries()
	var all []Entry
	for _, e := range entries {
		if left {
			all = append(all, e.departures()...)
		} else if e.Left == nil {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.ID, b.ID)) })
	return all, err
}

func (s *Store) entries() (out []Entry, err error) {
	var errs []error
	err = s.sidecars(func(_ string, e Entry, err error) {
		if err != nil {
			errs = append(errs, err)
		} else {
			out = append(out, e)
		}
	})
	return out, errors.Join(err, errors.Join(errs...))
}

// sidecars reads all there are.
func (s *Store) sidecars(each func(id string, e Entry, err error)) error {
	names, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return fmt.Errorf("list quarantine: %w", err)
	}
	for _, n := range names {
		id, ok := strings.CutSuffix(n.Name(), sidecarSuffix)
		if !ok || strings.HasPrefix(id, ".") {
			continue
		}
		if e, err := s.Get(id); !errors.Is(err, uploads.ErrUnknown) { // it was released just now
			each(id, e, err)
		}
	}
	return nil
}

// Get returns one entry, whether its body is here or left; [uploads.ErrUnknown]
// if there is none.
func (s *Store) Get(id string) (Entry, error) {
	b, err := s.root.ReadFile(id + sidecarSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return Entry{}, fmt.Errorf("quarantine %s: %w", id, uploads.ErrUnknown)
	}
	if err != nil {
		return Entry{}, fmt.Errorf("quarantine %s: %w", id, err)
	}
	var e Entry
	if err := json.Unmarshal(b, &e); err != nil {
		return Entry{}, fmt.Errorf("quarantine %s: read sidecar: %w", id, err)
	}
	if e.Version > Version {
		return Entry{}, fmt.Errorf("quarantine %s: sidecar of version %d; this program reads up to %d", id, e.Version, Version)
	}
	if e.ID != id {
		return Entry{}, fmt.Errorf("quarantine %s: the sidecar is that of %q", id, e.ID)
	}
	return e, nil
}

// Find returns the entry whose receipt begins with prefix, if it is the only one;
// [uploads.ErrUnknown] if there is none.
func (s *Store) Find(prefix string) (Entry, error) {
	s.mu.Lock()
	var ids []string
	for _, m := range []map[string]brief{s.files, s.left} {
		for id := range m {
			if strings.HasPrefix(id, prefix) {
				ids = append(ids, id)
			}
		}
	}
	s.mu.Unlock()
	switch len(ids) {
	case 0:
		return Entry{}, fmt.Errorf("quarantine %q: %w", prefix, uploads.ErrUnknown)
	case 1:
		return s.Get(ids[0])
	}
	return Entry{}, fmt.Errorf("quarantine: %d receipts begin with %q: give more of it", len(ids), prefix)
}

// Body opens the bytes of an entry.
func (s *Store) Body(id string) (uploads.Body, error) {
	f, err := s.root.Open(id + bodySuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("quarantine %s: %w", id, uploads.ErrUnknown)
	}
	if err != nil {
		return nil, fmt.Errorf("quarantine %s: %w", id, err)
	}
	return f, nil
}

// Usage is what is kept.
type Usage struct {
	Files  int       `json:"files"`
	Bytes  int64     `json:"bytes"`
	Oldest time.Time `json:"oldest,omitzero"` // when the first of them came
}

// Usage returns what is kept at this instant.
func (s *Store) Usage() Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := Usage{Files: len(s.files), Bytes: s.bytes}
	for _, f := range s.files {
		if u.Oldest.IsZero() || f.at.Before(u.Oldest) {
			u.Oldest = f.at
		}
	}
	return u
}

// recover reads what is here, and removes what interrupted calls left: bodies
// nothing vouches for, or that had left.
func (s *Store) recover() error {
	if _, err := durablefile.Sweep(s.root, "."); err != nil {
		return err
	}
	all, _ := s.entries() // those that cannot be read are named by List
	for _, e := range all {
		if e.Left != nil {
			s.left[e.ID] = brief{e.Left.At, 0}
		} else {
			s.files[e.ID] = brief{e.At, e.Size}
			s.bytes += e.Size
		}
	}
	names, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, n := range names {
		id, ok := strings.CutSuffix(n.Name(), bodySuffix)
		_, left := s.left[id]
		if !ok || !isReceipt(id) || !left && s.exists(id+sidecarSuffix) {
			continue
		}
		if err := s.root.Remove(n.Name()); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) exists(name string) bool {
	_, err := s.root.Lstat(name)
	return err == nil
}

// isReceipt reports whether a name may be one of ours.
func isReceipt(id string) bool {
	return len(id) == 26 && !strings.ContainsFunc(id, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '2' || r > '7') })
}
