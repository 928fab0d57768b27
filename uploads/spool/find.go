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
		return receiptOf(&e.Upload, e.Marks), true
	}
	return r, seq != 0
}

// newest finds a name among the uploads whose records are on disk.
func (s *Spool) newest(id receipts.NameID) (r uploads.Receipt, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := s.names[id]; e != nil; e = e.older {
		if !e.lost {
			return e.receipt(), e.Seq
		}
	}
	return r, 0
}

// FindExact returns the receipt for exactly these bytes under that name, unless
// they were lost.
func (s *Spool) FindExact(kind string, name uploads.Name, d uploads.Digest) (uploads.Receipt, bool) {
	id := receipts.FileID{Name: receipts.NameIDOf(kind, name), Digest: d}
	s.mu.Lock()
	e := s.files[id]
	if e != nil && !e.lost {
		defer s.mu.Unlock()
		return e.receipt(), true
	}
	s.mu.Unlock()
	return s.archived(id, e)
}

// archived looks a file up among those whose segments are gone. If it was lost,
// only a receipt from after that counts: there is one if it was sent again and
// that segment was freed first.
func (s *Spool) archived(id receipts.FileID, lost *entry) (uploads.Receipt, bool) {
	e, err := s.archive.FindExact(id)
	if err != nil {
		// The sender offers the bytes: storing them again harms nobody.
		s.log.Error("receipt unreadable", "sha256", id.Digest.String(), "err", err)
	}
	if e == nil || err != nil || e.Lost() || lost != nil && e.Upload.Seq < lost.Seq {
		return uploads.Receipt{}, false
	}
	return receiptOf(&e.Upload, e.Marks), true
}
