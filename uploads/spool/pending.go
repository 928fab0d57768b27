package spool

import (
	"errors"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/register"
)

// readAtOnce is how many records are looked up before the lock is let go to
// read them.
const readAtOnce = 256

// Pending returns up to limit files that the sink has not got, with Seq above
// after, in ascending order. It reads each from the disk: for an order, Keys are
// enough. A file that turns out to be damaged is a recorded loss; one that cannot
// be read at the moment is left out.
func (s *Spool) Pending(name string, after uint64, limit int) (out []uploads.Upload) {
	k := s.sink(name)
	if k == nil {
		return nil
	}
	s.mu.Lock()
	in := s.pendingFor(k)
	s.mu.Unlock()
	for len(out) < limit {
		page := s.page(after, min(limit-len(out), readAtOnce), in)
		if len(page) == 0 {
			break
		}
		after = page[len(page)-1].seq
		for _, l := range page {
			if u, ok := s.known(l); ok {
				out = append(out, u)
			}
		}
	}
	return out
}

// page locates the first entries above a number that fit.
func (s *Spool) page(after uint64, limit int, fits func(*entry) bool) (page []*located) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.register.From(after + 1) {
		if len(page) == limit {
			break
		}
		if !fits(e) {
			continue
		}
		if l, ok := s.locate(e); ok {
			page = append(page, l)
		}
	}
	return page
}

// known reads what is known of a located upload and lets it go.
func (s *Spool) known(l *located) (uploads.Upload, bool) {
	defer s.letGo(l)
	u, err := s.readUpload(l)
	if err != nil {
		s.unreadable(l.seq, err)
		return uploads.Upload{}, false
	}
	return u.Upload, true
}

// unreadable takes note that a held upload cannot be read.
func (s *Spool) unreadable(seq uint64, err error) {
	s.log.Error("upload cannot be read", "seq", seq, "err", err)
	var damage *damageError
	if !errors.As(err, &damage) {
		return
	}
	if err := s.Lose(seq, LossDamaged, damage.Error()); err != nil && !errors.Is(err, uploads.ErrUnknown) {
		s.log.Error("loss not recorded", "seq", seq, "err", err)
	}
}

// Lookup returns what is known of a held file.
func (s *Spool) Lookup(seq uint64) (uploads.Upload, bool) {
	s.mu.Lock()
	l, ok := s.locateHeld(seq)
	s.mu.Unlock()
	if !ok {
		return uploads.Upload{}, false
	}
	return s.known(l)
}

func (s *Spool) locateHeld(seq uint64) (*located, bool) {
	_, e := s.register.Find(seq)
	if e == nil || !isHeld(e) {
		return nil, false
	}
	return s.locate(e)
}

// Keys appends to out the keys of up to limit files that the sink has not got,
// with Seq above after, in ascending order. It reads no file.
func (s *Spool) Keys(name string, after uint64, limit int, out []Key) []Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.sink(name)
	if k == nil {
		return out
	}
	return s.keys(max(after+1, k.pending.first), limit, out, s.pendingFor(k))
}

// Held appends to out the keys of up to limit files that have not left, with
// Seq above after, in ascending order. It reads no file.
func (s *Spool) Held(after uint64, limit int, out []Key) []Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys(max(after+1, s.held.first), limit, out, isHeld)
}

func (s *Spool) keys(from uint64, limit int, out []Key, fits func(*entry) bool) []Key {
	for _, e := range s.register.From(from) {
		if limit == 0 {
			break
		}
		if fits(e) && !e.Is(register.Nameless) {
			limit--
			out = append(out, Key{Seq: e.Seq, Kind: s.kindOf(e).name, Size: e.Size, Source: e.Line})
		}
	}
	return out
}
