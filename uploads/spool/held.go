package spool

import (
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/receipts"
)

// Held appends to out the keys of up to limit files that have not left, with
// Seq above after, in ascending order. It reads no file.
func (s *Spool) Held(after uint64, limit int, out []Key) []Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.held.from(after) {
		if limit == 0 {
			break
		}
		if isHeld(e) {
			limit--
			out = append(out, KeyOf(e.Upload.Upload))
		}
	}
	return out
}

// Lookup returns what is known of a held file.
func (s *Spool) Lookup(seq uint64) (uploads.Upload, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[seq]
	if e == nil || e.left {
		return uploads.Upload{}, false
	}
	return e.Upload.Upload, true
}

// HeldExact returns the held file of exactly these bytes and that name.
func (s *Spool) HeldExact(kind string, name uploads.Name, d uploads.Digest) (uploads.Upload, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.files[receipts.FileID{Name: receipts.NameIDOf(kind, name), Digest: d}]
	if e == nil || e.left {
		return uploads.Upload{}, false
	}
	return e.Upload.Upload, true
}
