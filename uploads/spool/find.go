package spool

import (
	"errors"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/receipts"
	"inventorybeacon/uploads/spool/register"
)

// Find returns the receipt of the newest file of that name that is held or was
// delivered.
func (s *Spool) Find(kind string, name uploads.Name) (uploads.Receipt, bool) {
	id := receipts.NameIDOf(kind, name)
	r, seq := s.newest(id)
	e, err := s.archive.Find(id)
	if err != nil {
		s.log.Error("receipt unreadable", "kind", kind, "name", name.String(), "err", err)
	}
	if err == nil && e != nil && e.Upload.Seq > seq {
		return s.archivedReceipt(e), true
	}
	return r, seq != 0
}

// newest finds a name among the uploads whose records are on disk.
func (s *Spool) newest(id receipts.NameID) (r uploads.Receipt, seq uint64) {
	for below := ^uint64(0); ; {
		l := s.locateNamed(nameHash(id), below)
		if l == nil {
			return r, 0
		}
		below = l.seq
		r, ok := s.receiptIf(l, func(u *journal.Upload) bool { return nameID(u.Kind, u.Name.String()) == id })
		if ok {
			return r, l.seq
		}
	}
}

// locateNamed finds the newest upload with that hash of its name and a lower
// number than below that was not lost.
func (s *Spool) locateNamed(hash uint32, below uint64) *located {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ref := s.register.Newest(hash); ref != 0; ref = s.register.Older(ref) {
		e := s.register.At(ref)
		if e.Seq >= below || e.Is(register.Lost) {
			continue
		}
		if l, ok := s.locateWhole(e); ok {
			return l
		}
	}
	return nil
}

// receiptIf reads the receipt of a located upload if it is the right one, and
// lets it go.
func (s *Spool) receiptIf(l *located, right func(*journal.Upload) bool) (uploads.Receipt, bool) {
	defer s.letGo(l)
	u, err := s.readUpload(l)
	switch {
	case err != nil:
		s.log.Error("receipt unreadable", "seq", l.seq, "err", err)
		return uploads.Receipt{}, false
	case !right(u):
		return uploads.Receipt{}, false
	}
	return s.receipt(u, l), true
}

// receipt is that of a located upload, with as much of the custody as can be
// read.
func (s *Spool) receipt(u *journal.Upload, l *located) uploads.Receipt {
	marks, err := s.readMarks(l.marks)
	if err != nil {
		s.log.Error("custody unreadable", "seq", l.seq, "err", err)
	}
	return receiptOf(u, marks)
}

// FindExact returns the receipt for exactly these bytes under that name, unless
// they were lost.
func (s *Spool) FindExact(kind string, name uploads.Name, d uploads.Digest) (uploads.Receipt, bool) {
	r, _, ok := s.findExact(receipts.FileID{Name: receipts.NameIDOf(kind, name), Digest: d})
	return r, ok
}

// findExact returns the upload, too; of one whose record is gone, that from the
// archive.
func (s *Spool) findExact(id receipts.FileID) (r uploads.Receipt, u *journal.Upload, ok bool) {
	q := question{id: id}
	s.mu.Lock()
	for l := s.candidate(&q); l != nil; l = s.candidate(&q) {
		s.mu.Unlock()
		if s.examine(&q, l) {
			return q.receipt, q.upload, true
		}
		s.mu.Lock()
	}
	s.mu.Unlock()
	return s.archived(id, q.lost)
}

// HeldExact returns the held file of exactly these bytes and that name.
func (s *Spool) HeldExact(kind string, name uploads.Name, d uploads.Digest) (uploads.Upload, bool) {
	_, u, ok := s.findExact(receipts.FileID{Name: receipts.NameIDOf(kind, name), Digest: d})
	if !ok {
		return uploads.Upload{}, false
	}
	s.mu.Lock()
	_, e := s.register.Find(u.Seq)
	held := e != nil && isHeld(e)
	s.mu.Unlock()
	return u.Upload, held
}

// A question is whether certain bytes are there under a name. The register
// knows their hash alone: the records of those that have it are read.
type question struct {
	id   receipts.FileID
	seen uint64 // all with numbers up to this have been examined
	lost uint64 // the newest of those bytes that was lost; 0 if none was
	// The answer, of the newest one that was not.
	receipt uploads.Receipt
	upload  *journal.Upload
}

// candidate locates the oldest upload that may be what is asked for and has not
// been examined. s.mu is held.
func (s *Spool) candidate(q *question) (found *located) {
	var next *entry
	for ref := range s.register.Files(fileHash(q.id)) {
		if e := s.register.At(ref); e.Seq > q.seen && (next == nil || e.Seq < next.Seq) {
			next = e
		}
	}
	if next == nil {
		return nil
	}
	q.seen = next.Seq
	if l, ok := s.locateWhole(next); ok {
		return l
	}
	return s.candidate(q) // its receipt is in the archive
}

// examine says whether a candidate is what is asked for and was not lost.
func (s *Spool) examine(q *question, l *located) bool {
	defer s.letGo(l)
	u, err := s.readUpload(l)
	var damage *damageError
	switch {
	case errors.As(err, &damage) && l.lost:
		q.lost = l.seq // that is why it was
		return false
	case err != nil:
		// The sender offers the bytes: storing them again harms nobody.
		s.log.Error("receipt unreadable", "seq", l.seq, "err", err)
		return false
	case u.Digest != q.id.Digest || nameID(u.Kind, u.Name.String()) != q.id.Name:
		return false
	case l.lost:
		q.lost = l.seq
		return false
	}
	q.receipt, q.upload = s.receipt(u, l), u
	return true
}

// archived looks a file up among those whose segments are gone. If it was lost,
// only a receipt from after that counts: there is one if it was sent again and
// that segment was freed first.
func (s *Spool) archived(id receipts.FileID, lost uint64) (r uploads.Receipt, u *journal.Upload, ok bool) {
	e, err := s.archive.FindExact(id)
	if err != nil {
		// The sender offers the bytes: storing them again harms nobody.
		s.log.Error("receipt unreadable", "sha256", id.Digest.String(), "err", err)
	}
	if e == nil || err != nil || e.Lost() || e.Upload.Seq < lost {
		return r, nil, false
	}
	return s.archivedReceipt(e), &e.Upload, true
}

func (s *Spool) archivedReceipt(e *receipts.Entry) uploads.Receipt {
	s.mu.Lock()
	l := &located{marks: s.locateMarks(s.learnt[e.Upload.Seq])}
	s.mu.Unlock()
	defer s.letGo(l)
	learnt, err := s.readMarks(l.marks)
	if err != nil {
		s.log.Error("custody unreadable", "seq", e.Upload.Seq, "err", err)
	}
	return receiptOf(&e.Upload, append(e.Marks, learnt...))
}
