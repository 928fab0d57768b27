package revision

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"inventorybeacon/policy"
	"inventorybeacon/uploads/durablefile"

	"github.com/gofrs/flock"
)

// keepRetired is how long an object stays served under its immutable name
// after the last policy that lists it: shorter, and a device that took its
// policy and then slept finds a part gone; longer costs memory.
const keepRetired = 7 * 24 * time.Hour

// maxRetired bounds how many objects are served so.
const maxRetired = 20_000

// Options say how a store behaves. The zero value is usable.
type Options struct {
	Log *slog.Logger
	// Now is for tests; nil means time.Now.
	Now func() time.Time
}

// A Store holds every revision; see Open. Publications wait for each other;
// readers wait for nobody.
type Store struct {
	dir       string
	root      *os.Root
	lock      *flock.Flock
	log       *slog.Logger
	now       func() time.Time
	publisher string // our own identity
	damage    error

	mu      sync.Mutex // held by whoever changes what is in force
	closed  bool
	highest policy.Revision // no number up to this one of its epoch is given again
	current atomic.Pointer[Snapshot]
}

// Open opens the store in dir (made if missing) and puts the last whole
// revision in force. One process owns a store. If the revision in force is
// damaged, an older one takes its place and Damage says so.
func Open(dir string, o Options) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open policy store: %w", err)
	}
	lock := flock.New(filepath.Join(dir, lockFile))
	if locked, err := lock.TryLock(); err != nil || !locked {
		if err == nil {
			err = errors.New("another process has it: is the beacon running?")
		}
		return nil, fmt.Errorf("open policy store %s: %w", dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open policy store: %w", errors.Join(err, lock.Close()))
	}
	s := &Store{dir: dir, root: root, lock: lock, log: o.Log, now: o.Now}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("open policy store %s: %w", dir, errors.Join(err, s.Close()))
	}
	return s, nil
}

func (s *Store) open() error {
	// Versions come first: what is newer is not touched.
	if err := s.readIdentity(); err != nil {
		return err
	}
	m, err := readCurrent(s.root)
	if errors.Is(err, policy.ErrTooNew) {
		return err
	}
	if err := s.prepare(); err != nil {
		return err
	}
	all, err2 := listManifests(s.root)
	if err2 != nil {
		return err2
	}
	if len(all) > 0 {
		s.highest = all[0]
	}
	// A crash in the very first publication leaves its manifest and no pointer;
	// a pointer that is gone later was taken away.
	if m == nil && err == nil && s.highest.After(policy.Revision{Epoch: 1, Number: 1}) {
		err = fmt.Errorf("%s is missing: %w", currentFile, errDamaged)
	}
	snap, err := s.lastWhole(m, err, all)
	if err != nil {
		return err
	}
	s.recall(snap, all)
	s.current.Store(snap)
	return nil
}

func (s *Store) readIdentity() error {
	b, err := s.root.ReadFile(identityFile)
	if errors.Is(err, fs.ErrNotExist) {
		return s.makeIdentity()
	}
	if err != nil {
		return err
	}
	var id identity
	if err := decode(b, identityFile, &id); err != nil {
		return err
	}
	s.publisher = id.Publisher
	return nil
}

func (s *Store) makeIdentity() error {
	s.publisher = strings.ToLower(rand.Text())
	b, err := json.Marshal(identity{version, s.publisher})
	if err != nil {
		return err
	}
	return durablefile.Write(s.root, identityFile, append(b, '\n'), 0o600)
}

// prepare makes the folders and sweeps what an interrupted writer left.
func (s *Store) prepare() error {
	for _, dir := range []string{objectsDir, revisionsDir, incomingDir} {
		if err := s.root.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	for _, dir := range []string{".", objectsDir, revisionsDir} {
		if _, err := durablefile.Sweep(s.root, dir); err != nil {
			return err
		}
	}
	left, err := fs.ReadDir(s.root.FS(), incomingDir)
	if err != nil {
		return err
	}
	for _, e := range left {
		if strings.HasSuffix(e.Name(), durablefile.TempSuffix) {
			err = errors.Join(err, s.root.RemoveAll(incomingDir+"/"+e.Name()))
		}
	}
	return err
}

// lastWhole makes the snapshot of m, or if that is damaged (why says so where
// m could not even be read) of the newest revision that is whole.
func (s *Store) lastWhole(m *manifest, why error, all []policy.Revision) (*Snapshot, error) {
	if why == nil && m == nil {
		return newSnapshot(&manifest{}, newLoader(s.root, nil))
	}
	if why == nil {
		snap, err := s.whole(m)
		if err == nil {
			return snap, nil
		}
		why = err
	}
	s.damage = fmt.Errorf("the policy in force is damaged: %w", why)
	for _, r := range all {
		if m != nil && !m.Revision.After(r) {
			continue // what was never in force
		}
		older, _, err := readManifest(s.root, (&manifest{Revision: r}).fileName())
		if err != nil {
			continue
		}
		if snap, err := s.whole(older); err == nil {
			s.log.Error("policy in force is damaged, an older revision takes its place: publish the bundles again",
				"err", why, "revision", r.String())
			return snap, nil
		}
	}
	s.log.Error("policy in force is damaged and no older revision is whole: publish the bundles again", "err", why)
	return newSnapshot(&manifest{}, newLoader(s.root, nil))
}

func (s *Store) whole(m *manifest) (*Snapshot, error) {
	if err := m.verify(s.root); err != nil {
		return nil, err
	}
	return newSnapshot(m, newLoader(s.root, nil))
}

// recall makes snap serve what revisions before it listed, as long as that was
// not too long ago.
func (s *Store) recall(snap *Snapshot, all []policy.Revision) {
	until := snap.Revision().Created.Add(keepRetired)
	for _, r := range all {
		if !snap.Revision().After(r) {
			continue
		}
		if !until.After(s.now()) {
			return
		}
		m, _, err := readManifest(s.root, (&manifest{Revision: r}).fileName())
		if err != nil {
			s.log.Warn("an earlier revision cannot be read", "revision", r.String(), "err", err)
			continue
		}
		l := newLoader(s.root, nil)
		l.room = -1 // nobody asks for most of it: not into memory
		gen, err := newGeneration(m, l)
		if err != nil {
			s.log.Warn("an earlier revision cannot be read", "revision", r.String(), "err", err)
			continue
		}
		snap.retire(gen.immutable, until)
		until = m.Revision.Created.Add(keepRetired)
	}
}

// retire makes s serve objects that are not its own until then.
func (s *Snapshot) retire(objects map[string]*Object, until time.Time) {
	for name, o := range objects {
		if s.gen.immutable[name] != nil || s.retired[name].until.After(until) || len(s.retired) >= maxRetired {
			continue
		}
		s.retired[name] = retired{o, until}
	}
}

// Close ends the use of the store by this process. What is in memory of its
// snapshots stays usable.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return errors.Join(s.root.Close(), s.lock.Close())
}

// Current returns what is in force, at the cost of one atomic load; never nil.
func (s *Store) Current() *Snapshot { return s.current.Load() }

// Damage says that what is in force is not what was published last; nil if it is.
func (s *Store) Damage() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.damage
}

// Publisher is this store's own identity.
func (s *Store) Publisher() string { return s.publisher }

// Mirrors returns the publisher that this store follows, "" if it publishes itself.
func (s *Store) Mirrors() string {
	if r := s.Current().Revision(); !r.IsZero() && r.Publisher != s.publisher {
		return r.Publisher
	}
	return ""
}

// Scratch is the folder for bundles that are being read: it is on the store's
// own disk, and swept when the store is opened.
func (s *Store) Scratch() string { return filepath.Join(s.dir, incomingDir) }

// History returns the revisions kept, newest first, the one in force on top.
func (s *Store) History() []policy.Revision {
	all, err := listManifests(s.root)
	if err != nil {
		s.log.Error("cannot list revisions", "err", err)
		return nil
	}
	now := s.Current().Revision()
	var kept []policy.Revision
	for _, r := range all {
		if r.After(now) {
			continue // never in force, or damaged
		}
		if m, _, err := readManifest(s.root, (&manifest{Revision: r}).fileName()); err == nil {
			kept = append(kept, m.Revision)
		}
	}
	return kept
}
