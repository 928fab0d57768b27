package revision

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"inventorybeacon/policy"
)

// The names in an exported tar stream: the manifest comes first.
const (
	exportedManifest = "revision.json"
	exportedObjects  = "objects/"
	maxManifest      = 256 << 20
)

// Export writes the revision in force with all its objects as a tar stream.
func (s *Store) Export(ctx context.Context, w io.Writer) error {
	m := s.Current().gen.manifest
	if m.Revision.IsZero() {
		return errors.New("export: nothing was ever published")
	}
	b, err := m.bytes()
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	t := tar.NewWriter(w)
	if err := writeEntry(t, exportedManifest, int64(len(b)), m.Revision.Created, strings.NewReader(string(b))); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	all := m.objects()
	for _, digest := range slices.Sorted(maps.Keys(all)) {
		if err := s.exportObject(ctx, t, digest, all[digest], m.Revision.Created); err != nil {
			return fmt.Errorf("export: %w", err)
		}
	}
	return t.Close()
}

func (s *Store) exportObject(ctx context.Context, t *tar.Writer, digest string, size int64, at time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f, err := s.root.Open(objectName(digest))
	if err != nil {
		return err
	}
	defer f.Close()
	return writeEntry(t, exportedObjects+digest, size, at, f)
}

func writeEntry(t *tar.Writer, name string, size int64, at time.Time, r io.Reader) error {
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: at, Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err := io.Copy(t, r)
	return err
}

// Import takes what Export wrote, verifies it and puts it in force: the store
// mirrors that publisher from then on. Nothing changes if it is cut or
// damaged, older than what is in force (policy.ErrOlder), or of another
// publisher than the one followed.
func (s *Store) Import(ctx context.Context, r io.Reader) (Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := tar.NewReader(r)
	m, err := importManifest(t)
	if err != nil {
		return Result{}, fmt.Errorf("import: %w", err)
	}
	if same, err := s.mayImport(m); err != nil || same {
		return Result{Revision: s.Current().Revision()}, err
	}
	if err := s.importObjects(ctx, t, m); err != nil {
		return Result{}, fmt.Errorf("import: %w", err)
	}
	if err := m.verify(s.root); err != nil {
		return Result{}, fmt.Errorf("import: %w", err)
	}
	if err := s.enforce(m); err != nil {
		return Result{}, fmt.Errorf("import: %w", err)
	}
	return Result{Revision: m.Revision, Changed: true}, nil
}

func importManifest(t *tar.Reader) (*manifest, error) {
	h, err := t.Next()
	if err != nil || h.Name != exportedManifest || h.Size > maxManifest {
		return nil, errors.New("this is not an exported policy")
	}
	b, err := io.ReadAll(t)
	if err != nil {
		return nil, err
	}
	m := &manifest{}
	if err := decode(b, exportedManifest, m); err != nil {
		return nil, err
	}
	if m.Revision.IsZero() || m.Revision.Publisher == "" || m.Revision.Epoch == 0 || m.Revision.Created.IsZero() {
		return nil, fmt.Errorf("%s names no revision: %w", exportedManifest, errDamaged)
	}
	return m, nil
}

// mayImport compares m with what is in force, and reports whether it is that.
func (s *Store) mayImport(m *manifest) (same bool, err error) {
	now := s.Current().gen.manifest
	switch {
	case now.Revision.IsZero():
		return false, nil
	case now.Revision.Publisher != m.Revision.Publisher && s.Mirrors() == "":
		return false, fmt.Errorf("import: this beacon has published revision %s itself, and the policy is %s's: a beacon follows one publisher; start from an empty data directory", now.Revision, m.Revision.Publisher)
	case now.Revision.Publisher != m.Revision.Publisher:
		return false, fmt.Errorf("import: this beacon follows the publisher %s, and the policy is %s's", now.Revision.Publisher, m.Revision.Publisher)
	case now.Revision.After(m.Revision):
		return false, fmt.Errorf("import: revision %s: %w, which is %s", m.Revision, policy.ErrOlder, now.Revision)
	case m.Revision.After(now.Revision):
		return false, nil
	case !equal(now, m):
		return false, fmt.Errorf("import: this revision %s differs from the one in force: two beacons publish under one name", m.Revision)
	}
	return s.damage == nil, nil
}

func (s *Store) importObjects(ctx context.Context, t *tar.Reader, m *manifest) error {
	wanted := m.objects()
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		digest, ok := strings.CutPrefix(h.Name, exportedObjects)
		if size, want := wanted[digest]; !ok || !want || h.Size != size {
			return fmt.Errorf("%.80q is not an object of this revision: %w", h.Name, errDamaged)
		}
		if err := putObject(s.root, digest, t); err != nil {
			return err
		}
	}
}
