// Package quarantine keeps the files that a destination, or the check of their
// content, will never take, each with a sidecar that says where it came from and
// why it is here, until a person decides, or until there is no more room or time
// for it.
//
//	<receipt>.body    the bytes, as far as they could be read
//	<receipt>.json    an [Entry]; it is written last, so it vouches for the body
//
// What left but by release leaves its sidecar, which says how.
package quarantine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
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
	// Recovered says that it was sent later than it should have been.
	Recovered bool `json:"recovered,omitempty"`
	// Sink refused it, for Reason, At this time.
	Sink   string    `json:"sink"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	// Left says how the body went, if it did.
	Left *Departure `json:"left,omitempty"`
	// Earlier are former stays of the same file, the oldest first.
	Earlier []Entry `json:"earlier,omitempty"`
}

// maxEarlier bounds the former stays on record of one file. More remember a file
// that comes back every day for longer; fewer keep its sidecar small.
const maxEarlier = 10

// departures are the stays of a file that ended, the oldest first.
func (e Entry) departures() []Entry {
	all := e.Earlier
	if e.Left != nil {
		e.Earlier = nil
		all = append(slices.Clip(all), e)
	}
	return all[max(0, len(all)-maxEarlier):]
}

// How a body left.
const (
	LeftQuota    = "quota"    // others needed the room
	LeftAge      = "age"      // nobody decided in time
	LeftOperator = "operator" // a person dropped it
	LeftReleased = "released" // a person let it go on
)

// A Departure says how and when a body left, and by whom if a person did it.
type Departure struct {
	How string    `json:"how"`
	At  time.Time `json:"at"`
	By  string    `json:"by,omitempty"`
}

// Options bound what is kept. More gives people more time to decide; less leaves
// the disk to uploads. 0 means no bound.
type Options struct {
	MaxFiles int
	MaxBytes int64
	// MaxAge is counted from when a file came here. Sidecars of files that left are
	// kept as long again, and as many.
	MaxAge time.Duration
	// Log is told of every file that leaves; it defaults to discarding.
	Log *slog.Logger
}

// A Store is a directory of quarantined files. Its methods may be called from
// several goroutines; one process owns it.
type Store struct {
	o    Options
	root *os.Root

	mu    sync.Mutex
	files map[string]brief // with a body
	left  map[string]brief // without
	bytes int64
	gone  map[string]uint64 // since Open, by how they left
}

// A brief is what bounds need to know of an entry: when it came, or left.
type brief struct {
	at   time.Time
	size int64
}

const (
	bodySuffix    = ".body"
	sidecarSuffix = ".json"
)

// Open opens the store in dir, which it makes if need be, and finishes what was
// interrupted.
func Open(dir string, o Options) (*Store, error) {
	if err := durablefile.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make quarantine: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open quarantine: %w", err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{o: o, root: root, files: map[string]brief{}, left: map[string]brief{}, gone: map[string]uint64{}}
	if err := s.recover(); err != nil {
		root.Close()
		return nil, fmt.Errorf("open quarantine: %w", err)
	}
	return s, nil
}

// Keep stores a file with the reason; it is durable on return. Keeping a file
// again is success and changes nothing. If there is no room, the oldest files
// leave.
func (s *Store) Keep(u uploads.Upload, body uploads.Body, sink, reason string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := Entry{
		Version: Version, ID: uploads.ReceiptID(u.Kind, u.Name, u.Digest),
		Kind: u.Kind, Name: u.Name, Device: u.Device, AgentID: u.AgentID, Digest: u.Digest, Size: u.Size,
		Received: u.Received, Modified: u.Modified, Beacon: u.Beacon, Via: u.Via, Peer: u.Peer, Recovered: u.Recovered,
		Sink: sink, Reason: reason, At: time.Now().UTC().Truncate(time.Millisecond),
	}
	if err := s.keep(e, body); err != nil {
		return fmt.Errorf("quarantine %s: %w", e.ID, err)
	}
	return nil
}

func (s *Store) keep(e Entry, body io.Reader) error {
	if _, here := s.files[e.ID]; here {
		return durablefile.SyncDir(s.root, ".") // whoever kept it may have died before
	}
	former, err := s.Get(e.ID)
	if err != nil && !errors.Is(err, uploads.ErrUnknown) {
		return err // a newer program's is not overwritten
	}
	e.Earlier = former.departures()
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
	if err := s.write(e); err != nil {
		return err
	}
	delete(s.left, e.ID)
	s.files[e.ID] = brief{e.At, e.Size}
	s.bytes += e.Size
	s.bound()
	return nil
}

func (s *Store) write(e Entry) error {
	b, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	return durablefile.Replace(s.root, e.ID+sidecarSuffix, append(b, '\n'), 0o600)
}

// Left returns how many files left since Open, by how.
func (s *Store) Left() map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.gone)
}

// Close releases the directory.
func (s *Store) Close() error { return s.root.Close() }
