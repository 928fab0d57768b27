package spool

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/receipts"
)

// A Draft is what the sender says of an upload before its body is read.
type Draft struct {
	Kind    string // canonical folder name
	Name    uploads.Name
	Device  uploads.Device
	AgentID string
	Peer    string
	Via     []string
	// Length is the declared size of the body; -1 means unknown.
	Length int64
	// MaxBytes bounds the body; 0 means no bound.
	MaxBytes int64
	// Want is the digest the sender announced, or nil.
	Want      *uploads.Digest
	Modified  time.Time
	Recovered bool
	// Released says that a person let it out of quarantine.
	Released bool
	// Received and Beacon say when and where it was accepted first, if that was
	// not now and here.
	Received time.Time
	Beacon   string
}

// maxMeta bounds what is stored about an upload besides its body, and so what
// a sender can make the spool remember with an empty file.
const maxMeta = 8 << 10

// Accept stores a body and returns its receipt when both are durable. The same
// kind, name (in any case) and bytes as a file that is held or was delivered
// give that file's receipt with Duplicate set, and store nothing.
//
// Errors match [uploads.ErrTooLarge], [uploads.ErrShort], [uploads.ErrDigest]
// (the body is not what the draft says), [uploads.ErrFull] or
// [uploads.ErrClosed]; any other is the body's own or I/O. After an error nothing
// is held. A slow body should be cut by its reader: ctx is looked at between
// reads only.
func (s *Spool) Accept(ctx context.Context, d Draft, body io.Reader) (uploads.Receipt, error) {
	if err := d.check(); err != nil {
		return uploads.Receipt{}, err
	}
	if err := s.enter(); err != nil {
		return uploads.Receipt{}, err
	}
	defer s.leave()
	c, err := s.collect(ctx, &d, body)
	if err != nil {
		return uploads.Receipt{}, err
	}
	defer c.discard()
	if err := c.verify(&d); err != nil {
		return uploads.Receipt{}, err
	}
	return s.once(ctx, &d, c)
}

// verify compares the body with the digest that was announced.
func (c *collected) verify(d *Draft) error {
	if d.Want != nil && *d.Want != c.digest {
		return fmt.Errorf("%w: the body's SHA-256 is %v, announced was %v", uploads.ErrDigest, c.digest, *d.Want)
	}
	return nil
}

func (d *Draft) check() error {
	if d.Kind == "" || d.Name.IsZero() {
		return fmt.Errorf("%w: no kind or no name", uploads.ErrBadName)
	}
	if d.MaxBytes > 0 && d.Length > d.MaxBytes {
		return fmt.Errorf("%w: %d bytes; %d are allowed", uploads.ErrTooLarge, d.Length, d.MaxBytes)
	}
	return nil
}

// A flight is a file being stored, on which repeats of it wait.
type flight struct{ done chan struct{} }

// once stores what was collected unless it is a repeat.
func (s *Spool) once(ctx context.Context, d *Draft, c *collected) (uploads.Receipt, error) {
	id := receipts.FileID{Name: receipts.NameIDOf(d.Kind, d.Name), Digest: c.digest}
	for {
		s.mu.Lock()
		e := s.files[id]
		if e != nil && !e.lost {
			r := s.receipt(e)
			s.counters.duplicates++
			s.mu.Unlock()
			r.Duplicate = true
			return r, nil
		}
		first, flying := s.flights[id]
		if !flying {
			f := &flight{make(chan struct{})}
			s.flights[id] = f
			s.mu.Unlock()
			return s.fly(d, c, id, f, e)
		}
		s.mu.Unlock()
		select {
		case <-first.done: // durable, or failed: look again
		case <-ctx.Done():
			return uploads.Receipt{}, ctx.Err()
		}
	}
}

// fly stores a file that nobody else is storing; lost is it, if it was lost
// here.
func (s *Spool) fly(d *Draft, c *collected, id receipts.FileID, f *flight, lost *entry) (uploads.Receipt, error) {
	defer func() {
		s.mu.Lock()
		delete(s.flights, id)
		s.mu.Unlock()
		close(f.done)
	}()
	if r, _, ok := s.archived(id, lost); ok {
		s.mu.Lock()
		s.counters.duplicates++
		s.mu.Unlock()
		r.Duplicate = true
		return r, nil
	}
	if err := s.book(d, c.size); err != nil {
		return uploads.Receipt{}, err
	}
	r, err := s.store(d, c, id)
	if err != nil {
		s.unbook(c.size)
	}
	return r, err
}

// store appends the upload's record.
func (s *Spool) store(d *Draft, c *collected, id receipts.FileID) (uploads.Receipt, error) {
	e := &entry{file: id}
	e.Upload.Upload = uploads.Upload{
		Kind: d.Kind, Name: d.Name, Device: d.Device, AgentID: d.AgentID,
		Digest: c.digest, Size: c.size,
		Received: now(),
		Modified: d.Modified.UTC().Truncate(time.Millisecond),
		Beacon:   cmp.Or(d.Beacon, s.o.Beacon), Via: d.Via, Peer: d.Peer, Recovered: d.Recovered, Released: d.Released,
	}
	if d.Modified.IsZero() {
		e.Modified = time.Time{}
	}
	if !d.Received.IsZero() {
		e.Received = d.Received.UTC().Truncate(time.Millisecond)
	}
	blob, err := c.commit(s.disk)
	if err != nil {
		return uploads.Receipt{}, err
	}
	e.Blob = blob
	it, err := c.item(&e.Upload)
	if err != nil {
		return uploads.Receipt{}, err
	}
	it.durable = func(seg *segment, r journal.Record) []Event { return s.accepted(e, seg, r) }
	if err := s.append(it); err != nil {
		return uploads.Receipt{}, err
	}
	c.keep()
	if t := s.o.Trace; t != nil && t.Acked != nil {
		t.Acked(e.Upload.Upload, it.seg.name, it.rec.Offset, it.rec.BodyOffset()+it.rec.BodyLen, e.Blob)
	}
	return e.Upload.Upload.Receipt(), nil
}

// accepted makes a durable upload a held one.
func (s *Spool) accepted(e *entry, seg *segment, r journal.Record) []Event {
	e.Seq = r.Seq
	e.settle(seg, r)
	s.hold(e)
	if s.bounded() {
		s.booked -= e.Size
		s.bookedFiles--
	}
	s.counters.accepted++
	if e.Blob != "" {
		s.counters.blobs++
		s.counters.blobBytes += e.Size
	}
	return []Event{acceptedEvent(&e.Upload)}
}

// settle says where e's record is.
func (e *entry) settle(seg *segment, r journal.Record) {
	e.seg, e.metaLen = seg, len(r.Meta)
	e.rec = r
	e.rec.Meta = nil
}
