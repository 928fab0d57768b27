package kept

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"slices"
	"strings"

	"inventorybeacon/uploads"
)

// ErrAmbiguous means that a receipt's beginning fits several files.
var ErrAmbiguous = errors.New("ambiguous")

// Find returns the entry of a receipt, or the only one whose receipt begins so.
// The error matches [uploads.ErrUnknown] or [ErrAmbiguous].
func (s *Store) Find(receipt string) (Entry, error) {
	receipt = strings.ToLower(strings.TrimSpace(receipt))
	s.mu.Lock()
	f := s.files[receipt]
	for id, other := range s.files {
		if receipt == "" || s.files[receipt] != nil || !strings.HasPrefix(id, receipt) {
			continue
		}
		if f != nil {
			s.mu.Unlock()
			return Entry{}, fmt.Errorf("%w: several receipts begin with %q: give more of it", ErrAmbiguous, receipt)
		}
		f = other
	}
	s.mu.Unlock()
	if f == nil {
		return Entry{}, fmt.Errorf("%w: no copy of %q is kept", uploads.ErrUnknown, receipt)
	}
	return s.read(f)
}

// read reads a sidecar.
func (s *Store) read(f *file) (e Entry, err error) {
	b, err := s.root.ReadFile(sidecarName(f.digest, f.id))
	if errors.Is(err, fs.ErrNotExist) {
		return e, fmt.Errorf("%w: the copy of %s has left", uploads.ErrUnknown, f.id)
	}
	if err != nil {
		return e, fmt.Errorf("read kept file: %w", err)
	}
	if err := json.Unmarshal(b, &e); err != nil || e.ID != f.id || e.Digest != f.digest {
		return e, fmt.Errorf("%w: %s: its sidecar says nothing", errDamaged, f.id)
	}
	if e.Version > Version {
		return e, fmt.Errorf("%w: %s has format %d, known is %d", errNewer, f.id, e.Version, Version)
	}
	return e, nil
}

var (
	errDamaged = errors.New("the copy is damaged")
	errNewer   = errors.New("the copy is newer than this program")
)

// Body opens the bytes of an entry, which are verified first. If they are not
// what they were, they leave, and the error matches [uploads.ErrUnknown].
func (s *Store) Body(e Entry) (uploads.Body, error) {
	f, err := s.root.Open(bodyName(e.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: the copy of %s has left", uploads.ErrUnknown, e.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("read kept file: %w", err)
	}
	h := sha256.New()
	n, err := io.Copy(h, io.NewSectionReader(f, 0, e.Size+1))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("read kept file: %w", err)
	}
	if n != e.Size || uploads.Digest(h.Sum(nil)) != e.Digest {
		f.Close()
		s.damaged(e.ID)
		return nil, fmt.Errorf("%w: %w: %s", uploads.ErrUnknown, errDamaged, e.ID)
	}
	return opened{io.NewSectionReader(f, 0, e.Size), f}, nil
}

type opened struct {
	*io.SectionReader
	f *os.File
}

func (o opened) Close() error { return o.f.Close() }

// damaged lets go of a copy that the disk did not keep.
func (s *Store) damaged(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[id]
	if f == nil {
		return
	}
	s.log.Error("kept file is damaged and leaves", slog.String("receipt", id))
	s.stats.Damaged++
	s.remove(f)
	s.rouse()
}

// Entries yields what is kept, in no order that means anything. What leaves
// meanwhile may be missing. Sidecars that cannot be read are passed over.
func (s *Store) Entries() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		s.mu.Lock()
		all := make([]*file, 0, len(s.files))
		for _, f := range s.files {
			all = append(all, f)
		}
		s.mu.Unlock()
		slices.SortFunc(all, func(a, b *file) int { return strings.Compare(a.id, b.id) })
		for _, f := range all {
			if e, err := s.read(f); err == nil && !yield(e) {
				return
			}
		}
	}
}
