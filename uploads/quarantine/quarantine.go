// Package quarantine keeps the files that a destination will never take, each
// with a sidecar that says where it came from and why it is here, until a
// person decides.
//
//	<receipt>.body    the bytes, as far as they could be read
//	<receipt>.json    an [Entry]; it is written last, so it vouches for the body
package quarantine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/durablefile"
)

// Version is the sidecar's format. Newer ones are refused.
const Version = 1

// An Entry is one quarantined file.
type Entry struct {
	Version  int            `json:"version"`
	ID       string         `json:"receipt"`
	Kind     string         `json:"kind"`
	Name     uploads.Name   `json:"name"`
	Device   uploads.Device `json:"device"`
	AgentID  string         `json:"agent,omitempty"`
	Digest   uploads.Digest `json:"sha256"`
	Size     int64          `json:"bytes"`
	Received time.Time      `json:"received"`
	Modified time.Time      `json:"modified,omitzero"`
	Beacon   string         `json:"beacon,omitempty"`
	Via      []string       `json:"via,omitempty"`
	Peer     string         `json:"peer,omitempty"`
	// Sink refused it, for Reason, At this time.
	Sink   string    `json:"sink"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// A Store is a directory of quarantined files. Its methods may be called from
// several goroutines; one process owns it.
type Store struct {
	root *os.Root
	mu   sync.Mutex
}

const (
	bodySuffix    = ".body"
	sidecarSuffix = ".json"
)

// Open opens the store in dir, which it makes if need be, and removes what an
// interrupted Keep left.
func Open(dir string) (*Store, error) {
	if err := durablefile.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make quarantine: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open quarantine: %w", err)
	}
	if _, err := durablefile.Sweep(root, "."); err != nil {
		root.Close()
		return nil, fmt.Errorf("sweep quarantine: %w", err)
	}
	return &Store{root: root}, nil
}

// Keep stores a file with the reason; it is durable on return. Keeping a file
// again is success and changes nothing.
func (s *Store) Keep(u uploads.Upload, body uploads.Body, sink, reason string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := Entry{
		Version: Version, ID: uploads.ReceiptID(u.Kind, u.Name, u.Digest),
		Kind: u.Kind, Name: u.Name, Device: u.Device, AgentID: u.AgentID, Digest: u.Digest, Size: u.Size,
		Received: u.Received, Modified: u.Modified, Beacon: u.Beacon, Via: u.Via, Peer: u.Peer,
		Sink: sink, Reason: reason, At: time.Now().UTC().Truncate(time.Millisecond),
	}
	if err := s.keep(e, body); err != nil {
		return fmt.Errorf("quarantine %s: %w", e.ID, err)
	}
	return nil
}

func (s *Store) keep(e Entry, body io.Reader) error {
	if _, err := s.root.Lstat(e.ID + sidecarSuffix); err == nil {
		return durablefile.SyncDir(s.root, ".") // whoever kept it may have died before
	}
	p, err := durablefile.Create(s.root, e.ID+bodySuffix, 0o600)
	if err != nil {
		return err
	}
	defer p.Abort()
	if _, err := io.Copy(p.File, body); err != nil {
		return err
	}
	// A body without its sidecar is from a Keep that was interrupted.
	if err := p.CommitReplace(); err != nil {
		return err
	}
	b, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	return durablefile.Replace(s.root, e.ID+sidecarSuffix, append(b, '\n'), 0o600)
}

// List returns the entries, ordered by receipt. Sidecars that cannot be read
// are left out of the list and named in the error.
func (s *Store) List() ([]Entry, error) {
	names, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("list quarantine: %w", err)
	}
	var out []Entry
	var errs []error
	for _, n := range names {
		id, ok := strings.CutSuffix(n.Name(), sidecarSuffix)
		if !ok || strings.HasPrefix(id, ".") {
			continue
		}
		e, err := s.Get(id)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, e)
	}
	return out, errors.Join(errs...)
}

// Get returns one entry; [uploads.ErrUnknown] if there is none.
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
	return e, nil
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

// Close releases the directory.
func (s *Store) Close() error { return s.root.Close() }
