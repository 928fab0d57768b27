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
	q := question{id: receipts.FileID{Name: receipts.NameIDOf(d.Kind, d.Name), Digest: c.digest}}
	for {
		s.mu.Lock()
		if l := s.candidate(&q); l != nil {
			s.mu.Unlock()
			if s.examine(&q, l) {
				return s.repeat(q.receipt), nil
			}
			continue
		}
		first, flying := s.flights[q.id]
		if !flying {
			f := &flight{make(chan struct{})}
			s.flights[q.id] = f
			s.mu.Unlock()
			return s.fly(d, c, f, &q)
		}
		s.mu.Unlock()
		select {
		case <-first.done: // durable, or failed: look again
		case <-ctx.Done():
			return uploads.Receipt{}, ctx.Err()
		}
	}
}

func (s *Spool) repeat(r uploads.Receipt) uploads.Receipt {
	s.mu.Lock()
	s.counters.duplicates++
	s.mu.Unlock()
	r.Duplicate = true
	return r
}

// fly stores a file that nobody else is storing.
func (s *Spool) fly(d *Draft, c *collected, f *flight, q *question) (uploads.Receipt, error) {
	defer func() {
		s.mu.Lock()
		delete(s.flights, q.id)
		s.mu.Unlock()
		close(f.done)
	}()
	if r, _, ok := s.archived(q.id, q.lost); ok {
		return s.repeat(r), nil
	}
	if err := s.book(d, c.size); err != nil {
		return uploads.Receipt{}, err
	}
	r, err := s.store(d, c, q.id)
	if err != nil {
		s.unbook(c.size)
	}
	return r, err
}

// store appends the upload's record.
func (s *Spool) store(d *Draft, c *collected, id receipts.FileID) (uploads.Receipt, error) {
	if err := s.spareReserve(c.inMemory()); err != nil {
		return uploads.Receipt{}, err
	}
	u := &journal.Upload{Upload: s.upload(d, c)}
	blob, err := c.commit(s.disk)
	if err != nil {
		return uploads.Receipt{}, err
	}
	u.Blob = blob
	it, err := c.item(u)
	if err != nil {
		return uploads.Receipt{}, err
	}
	it.durable = func(seg *segment, r journal.Record) []Event { return s.accepted(u, id, seg, r) }
	if err := s.append(it); err != nil {
		return uploads.Receipt{}, err
	}
	c.keep()
	if t := s.o.Trace; t != nil && t.Acked != nil {
		t.Acked(u.Upload, it.seg.name, it.rec.Offset, it.rec.BodyOffset()+it.rec.BodyLen, u.Blob)
	}
	return u.Receipt(), nil
}

// upload is what there is to be known of it, but for its number.
func (s *Spool) upload(d *Draft, c *collected) uploads.Upload {
	u := uploads.Upload{
		Kind: d.Kind, Name: d.Name, Device: d.Device, AgentID: d.AgentID,
		Digest: c.digest, Size: c.size,
		Received: now(), Modified: milliseconds(d.Modified),
		Beacon: cmp.Or(d.Beacon, s.o.Beacon), Via: d.Via, Peer: d.Peer, Recovered: d.Recovered, Released: d.Released,
	}
	if !d.Received.IsZero() {
		u.Received = milliseconds(d.Received)
	}
	return u
}

// milliseconds is t as records can keep it.
func milliseconds(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Millisecond)
}

// accepted makes a durable upload a held one.
func (s *Spool) accepted(u *journal.Upload, id receipts.FileID, seg *segment, r journal.Record) []Event {
	u.Seq = r.Seq
	e := s.newEntry(u, id)
	s.settle(&e, seg, r.Offset, len(r.Meta))
	s.recent.put(u)
	s.hold(s.register.At(s.register.Add(e)))
	if s.bounded() {
		s.booked -= u.Size
		s.bookedFiles--
	}
	s.counters.accepted++
	return []Event{acceptedEvent(u)}
}
