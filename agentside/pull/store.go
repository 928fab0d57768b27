package pull

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"time"

	"inventorybeacon/policy"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/durablefile"
)

// StoreVersion is the format of policy/current.json that this package writes.
const StoreVersion = 1

const manifestFile = "current.json"

// manifest is what policy/current.json says; the documents lie beside it, each
// under its digest. Replacing this one file is what puts a policy in force.
type manifest struct {
	Version   int             `json:"version"`
	Revision  policy.Revision `json:"revision"`
	From      string          `json:"from"`
	Taken     time.Time       `json:"taken"`
	Documents []Document      `json:"documents"`
}

// A Store keeps the last good policy in a directory, which is empty before the
// first. One process owns it.
type Store struct{ root *os.Root }

// OpenStore opens the store in dir, which must exist.
func OpenStore(dir string) (*Store, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("policy store: %w", err)
	}
	if _, err := durablefile.Sweep(root, "."); err != nil {
		root.Close()
		return nil, fmt.Errorf("policy store: %w", err)
	}
	return &Store{root}, nil
}

// Close closes the store.
func (s *Store) Close() error { return s.root.Close() }

// Load returns the policy in force, or nil if there is none. It is verified
// again: what the disk did not keep is an error, and no policy.
func (s *Store) Load() (*Policy, error) {
	b, err := s.root.ReadFile(manifestFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("policy store: %w", err)
	}
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("policy store: %s: %w", manifestFile, err)
	}
	if m.Version > StoreVersion {
		return nil, fmt.Errorf("policy store: %w (version %d, this one knows %d)", policy.ErrTooNew, m.Version, StoreVersion)
	}
	if len(m.Documents)%2 == 0 {
		return nil, fmt.Errorf("policy store: %s lists %d documents", manifestFile, len(m.Documents))
	}
	for i, d := range m.Documents {
		if m.Documents[i].Body, err = s.body(d); err != nil {
			return nil, fmt.Errorf("policy store: %w", err)
		}
	}
	p := &Policy{Revision: m.Revision, Digest: m.Documents[0].SHA256, From: m.From, Taken: m.Taken, Documents: m.Documents}
	if err := p.read(); err != nil {
		return nil, fmt.Errorf("policy store: %w", err)
	}
	return p, nil
}

func (s *Store) body(d Document) ([]byte, error) {
	b, err := s.root.ReadFile(fileName(d))
	if err != nil {
		return nil, err
	}
	if sum := uploads.DigestOf(b); sum != d.SHA256 {
		return nil, fmt.Errorf("%s: SHA-256 is %v, want %v", d.Path, sum, d.SHA256)
	}
	return b, nil
}

// fileName is a document's name in the store.
func fileName(d Document) string { return d.SHA256.String() + path.Ext(d.Path) }

var storedName = regexp.MustCompile(`^[0-9a-f]{64}(\.[A-Za-z]{1,8})?$`)

// Keep puts p in force: durably, and at once or not at all.
func (s *Store) Keep(p *Policy) error {
	m := manifest{Version: StoreVersion, Revision: p.Revision, From: p.From, Taken: p.Taken, Documents: p.Documents}
	for _, d := range p.Documents {
		if !storedName.MatchString(fileName(d)) {
			return fmt.Errorf("keep policy: %s cannot be stored", d.Path)
		}
		if have, err := s.body(d); err == nil && len(have) == len(d.Body) {
			continue
		}
		if err := durablefile.Replace(s.root, fileName(d), d.Body, 0o644); err != nil {
			return fmt.Errorf("keep policy: %w", err)
		}
	}
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("keep policy: %w", err)
	}
	if err := durablefile.Replace(s.root, manifestFile, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("keep policy: %w", err)
	}
	return s.tidy(p)
}

// tidy removes the documents of earlier policies, and nothing else.
func (s *Store) tidy(p *Policy) error {
	entries, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return fmt.Errorf("tidy policy store: %w", err)
	}
	var errs []error
	for _, e := range entries {
		inForce := slices.ContainsFunc(p.Documents, func(d Document) bool { return fileName(d) == e.Name() })
		if !inForce && storedName.MatchString(e.Name()) {
			errs = append(errs, s.root.Remove(e.Name()))
		}
	}
	return errors.Join(errs...)
}
