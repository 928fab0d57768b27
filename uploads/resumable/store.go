package resumable

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/backoff"
	"inventorybeacon/uploads/spool/disk"
)

// A Store is the unfinished uploads of one spool. Its methods may be called by
// several goroutines at once.
type Store struct {
	o    Options
	log  *slog.Logger
	disk disk.Disk
	own  bool // disk is to be closed

	mu       sync.Mutex
	uploads  map[string]*upload   // by id; open and done
	files    map[string]*upload   // open, by what they will be; see fileKey
	ended    map[string]time.Time // ids that are gone
	done     int
	bytes    int64 // weights of the open
	sources  map[string]usage
	created  uint64
	finished uint64
	cut      uint64
	reasons  map[string]uint64
}

type usage struct {
	files int
	bytes int64
}

// An upload is one resource. What its sessions change is guarded by Store.mu.
type upload struct {
	id      string
	draft   Draft
	source  string
	created time.Time
	touched time.Time // when bytes last came
	offset  int64     // promised
	weight  int64     // counted against the bounds
	small   int       // requests that brought nearly nothing
	logged  int64     // bytes of the state file
	done    bool
	digest  uploads.Digest
	from    int64

	holder *Session
}

func (u *upload) dataFile() string  { return path.Join(Dir, u.id+dataSuffix) }
func (u *upload) stateFile() string { return path.Join(Dir, u.id+stateSuffix) }

const (
	dataSuffix  = ".part"
	stateSuffix = ".state"
)

// newID names an upload so that nobody guesses it: whoever knows it may go on
// with the upload.
func newID() string { return strings.ToLower(rand.Text()) }

// IsID reports whether an upload could be called so.
func IsID(id string) bool {
	return len(id) == len(rand.Text()) && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

func fileKey(source, kind string, name uploads.Name, d uploads.Digest) string {
	return source + "\n" + uploads.ReceiptID(kind, name, d)
}

func (u *upload) key() string {
	if u.draft.Want == nil {
		return ""
	}
	return fileKey(u.source, u.draft.Kind, u.draft.Name, *u.draft.Want)
}

// Close gives up the store. No session may be in progress.
func (s *Store) Close() error {
	if s.own {
		return s.disk.Close()
	}
	return nil
}

// Find returns the upload that its sender began for these very bytes, if it
// lies here and is not complete.
func (s *Store) Find(source, kind string, name uploads.Name, d uploads.Digest, now time.Time) (Status, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.files[fileKey(source, kind, name, d)]
	if u == nil || s.expired(u, now) {
		return Status{}, false
	}
	return s.status(u), true
}

func (s *Store) status(u *upload) Status {
	return Status{
		ID: u.id, Draft: u.draft, Offset: u.offset, Expires: u.created.Add(s.o.MaxAge),
		Complete: u.done, Digest: u.digest, LastFrom: u.from,
	}
}

func (s *Store) expired(u *upload, now time.Time) bool {
	return s.o.MaxAge > 0 && now.Sub(u.created) >= s.o.MaxAge
}

// Stats returns the numbers of this instant.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Done: s.done, Created: s.created, Completed: s.finished, Interrupted: s.cut, Ended: map[string]uint64{}}
	maps.Copy(st.Ended, s.reasons)
	for _, u := range s.uploads {
		if u.done {
			continue
		}
		st.Open++
		st.Bytes += u.offset
		if st.Oldest.IsZero() || u.created.Before(st.Oldest) {
			st.Oldest = u.created
		}
	}
	return st
}

// Create begins an upload, durably, and returns the session that works on it;
// see [Store.Take] for interrupt. Errors match [uploads.ErrTooLarge] or
// [uploads.ErrFull].
func (s *Store) Create(d Draft, now time.Time, interrupt func()) (*Session, error) {
	if d.MaxBytes > 0 && d.Length > d.MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes; %s may have %d", uploads.ErrTooLarge, d.Length, d.Kind, d.MaxBytes)
	}
	now = now.UTC().Truncate(time.Millisecond)
	u := &upload{id: newID(), draft: d, source: d.Source(), created: now, touched: now, weight: max(d.Length, 0)}
	c := &Session{store: s, upload: u, interrupt: interrupt, over: make(chan struct{})}
	u.holder = c
	if err := s.admit(u, now); err != nil {
		return nil, err
	}
	if err := c.begin(); err != nil {
		c.Release()
		return nil, errors.Join(err, s.end(u, EndDamaged))
	}
	return c, nil
}

// admit enters u if the bounds allow it, at the cost of uploads that rest.
func (s *Store) admit(u *upload, now time.Time) error {
	s.mu.Lock()
	var out []*upload
	err := s.makeRoom(u, now, &out)
	if err == nil {
		s.enter(u)
		s.created++
	}
	s.mu.Unlock()
	for _, v := range out {
		s.remove(v)
	}
	return err
}

func (s *Store) makeRoom(u *upload, now time.Time, out *[]*upload) error {
	mine := func(v *upload) bool { return v.source == u.source }
	anybody := func(*upload) bool { return true }
	share := s.share(u)
	for {
		own := s.sources[u.source]
		var victim *upload
		switch {
		case over(own.files+1, share.Files) || over(own.bytes+u.weight, share.Bytes):
			victim = s.resting(mine, now)
		case over(len(s.uploads)-s.done+1, s.o.Files) || over(s.bytes+u.weight, s.o.Bytes):
			victim = s.resting(anybody, now)
		default:
			return nil
		}
		if victim == nil {
			return full("too many unfinished uploads")
		}
		s.leave(victim, EndEvicted, now)
		*out = append(*out, victim)
	}
}

// share is what u's source may have.
func (s *Store) share(u *upload) Share {
	if u.draft.many() {
		return s.o.Child
	}
	return s.o.Device
}

func over[T int | int64](n, limit T) bool { return limit > 0 && n > limit }

// resting returns the upload nobody has worked on for longest, if it is long.
func (s *Store) resting(among func(*upload) bool, now time.Time) (idlest *upload) {
	for _, v := range s.uploads {
		if v.done || v.holder != nil || now.Sub(v.touched) < idleBefore || !among(v) {
			continue
		}
		if idlest == nil || v.touched.Before(idlest.touched) {
			idlest = v
		}
	}
	return idlest
}

// enter counts an upload that is open.
func (s *Store) enter(u *upload) {
	s.uploads[u.id] = u
	s.bytes += u.weight
	s.add(u.source, 1, u.weight)
	if k := u.key(); k != "" {
		s.files[k] = u
	}
}

func (s *Store) add(source string, files int, bytes int64) {
	n := s.sources[source]
	n.files, n.bytes = n.files+files, n.bytes+bytes
	if n == (usage{}) {
		delete(s.sources, source)
		return
	}
	s.sources[source] = n
}

// uncount is the opposite of enter, but for the id.
func (s *Store) uncount(u *upload) {
	s.bytes -= u.weight
	s.add(u.source, -1, -u.weight)
	if k := u.key(); s.files[k] == u {
		delete(s.files, k)
	}
}

// leave takes an upload out; its files are still to be removed.
func (s *Store) leave(u *upload, reason string, now time.Time) {
	if s.uploads[u.id] != u {
		return
	}
	delete(s.uploads, u.id)
	if u.done {
		s.done--
		return
	}
	s.uncount(u)
	s.reasons[reason]++
	if len(s.ended) >= maxEnded {
		clear(s.ended)
	}
	s.ended[u.id] = now
	s.log.Info("unfinished upload ended", slog.String("reason", reason), slog.String("kind", u.draft.Kind),
		slog.String("name", u.draft.Name.String()), slog.Int64("bytes", u.offset))
}

// end takes an upload out and removes its files, the state first: bytes without
// a state are nobody's.
func (s *Store) end(u *upload, reason string) error {
	s.mu.Lock()
	s.leave(u, reason, time.Now())
	s.mu.Unlock()
	return s.remove(u)
}

func (s *Store) remove(u *upload) error {
	for _, name := range []string{u.stateFile(), u.dataFile()} {
		if err := s.disk.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("leftover not removed", slog.String("file", name), slog.Any("err", err))
			return fmt.Errorf("remove unfinished upload: %w", err)
		}
	}
	return nil
}

// Expire ends the uploads whose time is up and forgets what was completed long ago.
func (s *Store) Expire(now time.Time) {
	s.mu.Lock()
	var out, done []*upload
	for _, u := range s.uploads {
		switch {
		case u.holder != nil:
		case s.expired(u, now):
			s.leave(u, EndExpired, now)
			out = append(out, u)
		case u.done:
			done = append(done, u)
		}
	}
	if extra := len(done) - maxDone; extra > 0 {
		slices.SortFunc(done, func(a, b *upload) int { return cmp.Compare(a.touched.UnixNano(), b.touched.UnixNano()) })
		for _, u := range done[:extra] {
			s.leave(u, "", now)
			out = append(out, u)
		}
	}
	for id, at := range s.ended {
		if s.o.MaxAge > 0 && now.Sub(at) >= s.o.MaxAge {
			delete(s.ended, id)
		}
	}
	s.mu.Unlock()
	for _, u := range out {
		s.remove(u) // it is logged, and swept at the next start
	}
}

// expireEvery is how late an upload may expire.
const expireEvery = time.Minute

// Run expires uploads until ctx is done.
func (s *Store) Run(ctx context.Context) error {
	for backoff.Sleep(ctx, expireEvery) {
		s.Expire(time.Now())
	}
	return ctx.Err()
}
