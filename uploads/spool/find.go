package spool

import (
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/receipts"
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
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := s.names[id]; e != nil; e = e.older {
		if !e.lost {
			return s.receipt(e), e.Seq
		}
	}
	return r, 0
}

// FindExact returns the receipt for exactly these bytes under that name, unless
// they were lost.
func (s *Spool) FindExact(kind string, name uploads.Name, d uploads.Digest) (uploads.Receipt, bool) {
	r, _, ok := s.findExact(receipts.FileID{Name: receipts.NameIDOf(kind, name), Digest: d})
	return r, ok
}

func (s *Spool) findExact(id receipts.FileID) (r uploads.Receipt, seq uint64, ok bool) {
	s.mu.Lock()
	e := s.files[id]
	if e != nil && !e.lost {
		defer s.mu.Unlock()
		return s.receipt(e), e.Seq, true
	}
	s.mu.Unlock()
	return s.archived(id, e)
}

// archived looks a file up among those whose segments are gone. If it was lost,
// only a receipt from after that counts: there is one if it was sent again and
// that segment was freed first.
func (s *Spool) archived(id receipts.FileID, lost *entry) (r uploads.Receipt, seq uint64, ok bool) {
	e, err := s.archive.FindExact(id)
	if err != nil {
		// The sender offers the bytes: storing them again harms nobody.
		s.log.Error("receipt unreadable", "sha256", id.Digest.String(), "err", err)
	}
	if e == nil || err != nil || e.Lost() || lost != nil && e.Upload.Seq < lost.Seq {
		return r, 0, false
	}
	return s.archivedReceipt(e), e.Upload.Seq, true
}

func (s *Spool) archivedReceipt(e *receipts.Entry) uploads.Receipt {
	return receiptOf(&e.Upload, append(e.Marks, s.learntOf(e.Upload.Seq)...))
}
