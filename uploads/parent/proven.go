package parent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"inventorybeacon/uploads/durablefile"
)

// ProvenVersion is the version of the file in which proofs are kept.
const ProvenVersion = 1

// Proven are the locations that once proved to be beacons of ours, by a receipt
// or a problem document. What answers there without proof ever after is somebody
// in between, and its yes means nothing.
type Proven struct {
	path string

	mu    sync.Mutex
	since map[string]time.Time // by root
}

type provenFile struct {
	Version int                  `json:"version"`
	Beacons map[string]time.Time `json:"beacons"` // by upload root, since when
}

// OpenProven reads the proofs kept in a file, of which there are none if it is
// missing.
func OpenProven(path string) (*Proven, error) {
	p := &Proven{path: path, since: map[string]time.Time{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	f := provenFile{}
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("read which servers are beacons of ours: %w", err)
	case f.Version > ProvenVersion:
		return nil, fmt.Errorf("read %s: version %d is newer than this program's %d", path, f.Version, ProvenVersion)
	}
	maps.Copy(p.since, f.Beacons)
	return p, nil
}

// Has reports whether the location with that root proved to be ours.
func (p *Proven) Has(root string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.since[root].IsZero()
}

// note keeps a proof; it is durable on return.
func (p *Proven) note(root string, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.since[root].IsZero() {
		return nil
	}
	p.since[root] = now.UTC()
	err := p.write()
	if err != nil {
		delete(p.since, root)
		return fmt.Errorf("keep in mind that %s is a beacon of ours: %w", root, err)
	}
	return nil
}

func (p *Proven) write() error {
	b, err := json.MarshalIndent(provenFile{ProvenVersion, p.since}, "", "  ")
	if err != nil {
		return err
	}
	dir, err := os.OpenRoot(filepath.Dir(p.path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return durablefile.Replace(dir, filepath.Base(p.path), append(b, '\n'), 0o600)
}
