package revision

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"inventorybeacon/policy"
	"inventorybeacon/uploads/durablefile"
)

// version is that of everything a store writes. A newer program opens an older
// store; an older one refuses a newer store and changes nothing.
const version = 1

const (
	identityFile = "identity"
	currentFile  = "current"
	revisionsDir = "revisions"
	incomingDir  = "incoming"
	lockFile     = "lock"
)

// A manifest is one revision on disk. It holds everything that decides what
// devices are told, times included, so that every beacon with the same
// manifest gives the same answers.
type manifest struct {
	Version  int             `json:"version"`
	Revision policy.Revision `json:"revision"`
	Bundles  []policy.Bundle `json:"bundles"` // by name
	// Paths are the plain names: ready-made files, and what applies to every
	// device for scripts and bootstrap.
	Paths []namedObject `json:"paths"` // by path
}

type namedObject struct {
	Path     string    `json:"path"`
	Digest   string    `json:"sha256"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"` // when these bytes came to this path
}

// objects returns the sizes of all objects by digest.
func (m *manifest) objects() map[string]int64 {
	all := map[string]int64{}
	for _, p := range m.Paths {
		all[p.Digest] = p.Size
	}
	for _, b := range m.Bundles {
		for _, f := range b.Files {
			all[f.Digest] = f.Size
		}
	}
	return all
}

// verify reads every object.
func (m *manifest) verify(root *os.Root) error {
	all := m.objects()
	for _, digest := range slices.Sorted(maps.Keys(all)) {
		if _, err := parseDigest(digest); err != nil {
			return err
		}
		if err := verifyObject(root, digest, all[digest]); err != nil {
			return err
		}
	}
	return nil
}

func (m *manifest) fileName() string {
	return fmt.Sprintf("%s/%d-%d.json", revisionsDir, m.Revision.Epoch, m.Revision.Number)
}

func (m *manifest) bytes() ([]byte, error) { return json.MarshalIndent(m, "", " ") }

// A pointer is the contents of the file current.
type pointer struct {
	Version  int    `json:"version"`
	Manifest string `json:"manifest"` // its file
	SHA256   string `json:"sha256"`   // of the manifest's bytes
}

// An identity is the contents of the file identity.
type identity struct {
	Version   int    `json:"version"`
	Publisher string `json:"publisher"`
}

// decode reads JSON that carries a version.
func decode(b []byte, what string, to any) error {
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(b, &head); err != nil || head.Version < 1 {
		return fmt.Errorf("%s: %w", what, errDamaged)
	}
	if head.Version > version {
		return fmt.Errorf("%s is of version %d: %w (this one reads up to %d): use that version, or restore a backup", what, head.Version, policy.ErrTooNew, version)
	}
	if err := json.Unmarshal(b, to); err != nil {
		return fmt.Errorf("%s: %w: %w", what, errDamaged, err)
	}
	return nil
}

func readManifest(root *os.Root, name string) (*manifest, []byte, error) {
	b, err := root.ReadFile(name)
	if err != nil {
		return nil, nil, err
	}
	m := &manifest{}
	if err := decode(b, name, m); err != nil {
		return nil, nil, err
	}
	if name != m.fileName() {
		return nil, nil, fmt.Errorf("%s is of revision %s: %w", name, m.Revision, errDamaged)
	}
	return m, b, nil
}

// readCurrent returns the manifest that the pointer names; nil if nothing was
// ever published.
func readCurrent(root *os.Root) (*manifest, error) {
	b, err := root.ReadFile(currentFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var p pointer
	if err := decode(b, currentFile, &p); err != nil {
		return nil, err
	}
	if _, ok := parseManifestName(strings.TrimPrefix(p.Manifest, revisionsDir+"/")); !ok {
		return nil, fmt.Errorf("%s names %.80q: %w", currentFile, p.Manifest, errDamaged)
	}
	m, text, err := readManifest(root, p.Manifest)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != p.SHA256 {
		return nil, fmt.Errorf("%s: %w", p.Manifest, errDamaged)
	}
	return m, nil
}

// listManifests returns the revisions on disk, newest first.
func listManifests(root *os.Root) ([]policy.Revision, error) {
	ents, err := fs.ReadDir(root.FS(), revisionsDir)
	if err != nil {
		return nil, err
	}
	var all []policy.Revision
	for _, e := range ents {
		if r, ok := parseManifestName(e.Name()); ok {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b policy.Revision) int {
		return cmp.Or(cmp.Compare(b.Epoch, a.Epoch), cmp.Compare(b.Number, a.Number))
	})
	return all, nil
}

func parseManifestName(name string) (r policy.Revision, ok bool) {
	n, err := fmt.Sscanf(name, "%d-%d.json", &r.Epoch, &r.Number)
	m := manifest{Revision: r}
	return r, n == 2 && err == nil && m.fileName() == revisionsDir+"/"+name
}

// switchTo makes m durable and then the revision in force.
func switchTo(root *os.Root, m *manifest) error {
	b, err := m.bytes()
	if err != nil {
		return err
	}
	if have, err := root.ReadFile(m.fileName()); err != nil || !bytes.Equal(have, b) {
		if err := durablefile.Replace(root, m.fileName(), b, 0o600); err != nil {
			return err
		}
	}
	sum := sha256.Sum256(b)
	p, err := json.Marshal(pointer{version, m.fileName(), hex.EncodeToString(sum[:])})
	if err != nil {
		return err
	}
	return durablefile.Replace(root, currentFile, append(p, '\n'), 0o600)
}
