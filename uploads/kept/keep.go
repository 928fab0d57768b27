package kept

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"sync"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/durablefile"
)

// syncs is how many files are synced side by side. More share the commits of a
// journalling file system better; each takes a thread while it waits.
const syncs = 32

// Keep copies those of the files that are to stay, as far as they are not here
// already; the copies are durable on return. What fails is logged and counted, and
// is an error, too.
func (s *Store) Keep(parcels []uploads.Parcel) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	var copies []*copied
	for _, p := range parcels {
		if c := s.plan(p); c != nil {
			copies = append(copies, c)
		}
	}
	if len(copies) == 0 {
		return nil
	}
	s.write(copies)
	s.publish(copies)
	err := s.settle(copies)
	s.rouse()
	return err
}

// Wants reports whether files like u are kept.
func (s *Store) Wants(u uploads.Upload) bool { return s.o.Newest(entryOf(u)) > 0 }

// entryOf is what is known of an upload, but for its receipt.
func entryOf(u uploads.Upload) Entry {
	return Entry{
		Version: Version,
		Kind:    u.Kind, Name: u.Name, Device: u.Device, AgentID: u.AgentID, Digest: u.Digest, Size: u.Size,
		Received: u.Received, Modified: u.Modified, Beacon: u.Beacon, Via: u.Via, Peer: u.Peer, Recovered: u.Recovered,
	}
}

// A copied file is one on its way here.
type copied struct {
	parcel  uploads.Parcel
	entry   Entry
	newest  int
	body    *durablefile.Pending // nil if the bytes are here
	sidecar *durablefile.Pending
	err     error
}

// plan decides whether a file is copied, and begins to count its bytes as needed.
func (s *Store) plan(p uploads.Parcel) *copied {
	c := &copied{parcel: p, entry: entryOf(p.Upload)}
	if c.newest = s.o.Newest(c.entry); c.newest <= 0 {
		return nil
	}
	c.entry.ID = uploads.ReceiptID(c.entry.Kind, c.entry.Name, c.entry.Digest)
	room := s.o.Room == nil || s.o.Room()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.files[c.entry.ID] != nil:
		return nil
	case !room, s.superseded(c):
		s.stats.Skipped++
		return nil
	}
	s.bodies[c.entry.Digest]++
	return c
}

// superseded reports whether enough newer files are here.
func (s *Store) superseded(c *copied) bool {
	l := s.lines[line{c.entry.Kind, c.entry.Device.Key()}]
	return len(l) >= c.newest && l[c.newest-1].taken.After(c.entry.Taken())
}

// write makes temporary files, all of them before the first sync, so that they
// share its commit.
func (s *Store) write(copies []*copied) {
	begun := map[uploads.Digest]bool{}
	for _, c := range copies {
		if !begun[c.entry.Digest] && !s.bytesHere(c.entry.Digest) {
			begun[c.entry.Digest] = true
			c.err = s.writeBody(c)
		}
		if c.err == nil {
			c.err = s.writeSidecar(c)
		}
	}
	slots := make(chan struct{}, syncs)
	var wait sync.WaitGroup
	for _, c := range copies {
		if c.err != nil {
			continue
		}
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if c.body != nil {
				c.err = c.body.Sync()
			}
			c.err = errors.Join(c.err, c.sidecar.Sync())
		})
	}
	wait.Wait()
}

// bytesHere reports whether a body is here for another file's sake.
func (s *Store) bytesHere(d uploads.Digest) bool {
	_, err := s.root.Lstat(bodyName(d))
	return err == nil
}

func (s *Store) writeBody(c *copied) error {
	b, err := c.parcel.Open()
	if err != nil {
		return fmt.Errorf("open upload: %w", err)
	}
	defer b.Close()
	if c.body, err = durablefile.Create(s.root, bodyName(c.entry.Digest), 0o600); err != nil {
		return err
	}
	_, err = io.Copy(c.body.File, uploads.Verify(b, c.entry.Size, c.entry.Digest))
	return err
}

func (s *Store) writeSidecar(c *copied) error {
	b, err := json.Marshal(c.entry)
	if err != nil {
		return err
	}
	if c.sidecar, err = durablefile.Create(s.root, sidecarName(c.entry.Digest, c.entry.ID), 0o600); err != nil {
		return err
	}
	_, err = c.sidecar.Write(append(b, '\n'))
	return err
}

var errNoBytes = errors.New("its bytes could not be written")

// publish gives the files their names, with one sync of the directory.
func (s *Store) publish(copies []*copied) {
	for _, c := range copies {
		if c.err == nil && c.body != nil {
			c.err = c.body.Place()
		}
		if c.err == nil && !s.bytesHere(c.entry.Digest) {
			c.err = errNoBytes // another copy of the same bytes failed
		}
		if c.err == nil {
			c.err = c.sidecar.Place()
		}
	}
	if err := durablefile.SyncDir(s.root, "."); err != nil {
		for _, c := range copies {
			c.err = errors.Join(c.err, err)
		}
	}
}

// settle takes what was copied into the index.
func (s *Store) settle(copies []*copied) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, c := range copies {
		for _, p := range []*durablefile.Pending{c.body, c.sidecar} {
			if p != nil {
				p.Abort()
			}
		}
		e := c.entry
		if c.err != nil {
			s.stats.Failed++
			s.release(e.Digest)
			errs = append(errs, fmt.Errorf("keep %s: %w", e.ID, c.err))
			s.log.Warn("copy not kept", slog.String("receipt", e.ID), slog.String("file", e.Name.String()), slog.Any("err", c.err))
			continue
		}
		f := &file{id: e.ID, digest: e.Digest}
		f.describe(e, c.newest)
		s.stats.Copied++
		s.stats.Bytes += onDisk(e.Size)
		s.enter(f)
		s.added = append(s.added, e.ID)
	}
	return errors.Join(errs...)
}

// release removes a body that no file needs any longer. s.mu is held.
func (s *Store) release(d uploads.Digest) {
	if s.bodies[d]--; s.bodies[d] > 0 {
		return
	}
	delete(s.bodies, d)
	if err := s.root.Remove(bodyName(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("kept file not removed; the next start does", slog.String("sha256", d.String()), slog.Any("err", err))
	}
}
