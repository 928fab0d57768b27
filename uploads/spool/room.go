package spool

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"inventorybeacon/uploads"
)

// bounded says whether uploads have to book.
func (s *Spool) bounded() bool { return s.o.MaxBytes > 0 || s.o.MaxFiles > 0 }

// book makes room for an upload within Options.MaxBytes and MaxFiles, by giving
// up others if it must and may.
func (s *Spool) book(d *Draft, size int64) error {
	if !s.bounded() {
		return nil
	}
	for {
		s.mu.Lock()
		lack := s.lack(size)
		if lack.none() {
			s.booked += size
			s.bookedFiles++
			s.mu.Unlock()
			return nil
		}
		victims, enough := s.victims(lack, d, size)
		s.mu.Unlock()
		if !enough {
			return fmt.Errorf("%w: %d bytes, %d bytes and %d files too many", uploads.ErrFull, size, max(lack.bytes, 0), max(lack.files, 0))
		}
		if err := s.lose(victims, LossQuota, "given up to make room for another file"); err != nil {
			return err
		}
	}
}

func (s *Spool) unbook(size int64) {
	if !s.bounded() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.booked -= size
	s.bookedFiles--
}

// A lack is by how much the bounds would be exceeded.
type lack struct {
	bytes int64
	files int
}

func (l lack) none() bool { return l.bytes <= 0 && l.files <= 0 }

func (s *Spool) lack(size int64) (l lack) {
	if s.o.MaxBytes > 0 {
		l.bytes = s.held.bytes + s.booked + size - s.o.MaxBytes
	}
	if s.o.MaxFiles > 0 {
		l.files = s.held.count + s.bookedFiles + 1 - s.o.MaxFiles
	}
	return l
}

// victims chooses what to give up for a newcomer: nothing that ranks above it.
func (s *Spool) victims(l lack, d *Draft, size int64) (seqs []uint64, enough bool) {
	if s.o.GiveUp == nil || s.o.MaxBytes > 0 && size > s.o.MaxBytes {
		return nil, false
	}
	rank := s.o.GiveUp(uploads.Upload{Kind: d.Kind, Size: size}, true)
	for _, c := range s.candidates(d) {
		if l.none() || rank >= 0 && c.rank > rank {
			break
		}
		seqs = append(seqs, c.seq)
		l.bytes -= c.size
		l.files--
	}
	return seqs, l.none()
}

// A candidate for being given up.
type candidate struct {
	seq  uint64
	size int64
	rank int
	at   int64 // when it was received, Unix milliseconds
}

// candidates lists what may be given up, the first to go first. A newcomer
// takes from the file of its device and kind before it that it is the newest.
func (s *Spool) candidates(newcomer *Draft) (out []candidate) {
	type line struct {
		source uint64
		kind   uint32
	}
	newest := map[line]uint64{}
	for _, e := range s.register.From(s.held.first) {
		if isHeld(e) {
			newest[line{e.Line, e.Kind}] = e.Seq
		}
	}
	if d := newcomer; d != nil {
		source := KeyOf(uploads.Upload{Device: d.Device, Peer: d.Peer}).Source
		delete(newest, line{source, s.kinds.number(d.Kind)})
	}
	for _, e := range s.register.From(s.held.first) {
		if !isHeld(e) {
			continue
		}
		rank := 0
		if s.o.GiveUp != nil {
			u := uploads.Upload{Seq: e.Seq, Kind: s.kindOf(e).name, Size: e.Size, Received: time.UnixMilli(e.Received).UTC()}
			rank = s.o.GiveUp(u, newest[line{e.Line, e.Kind}] == e.Seq)
		}
		if rank >= 0 {
			out = append(out, candidate{e.Seq, e.Size, rank, e.Received})
		}
	}
	slices.SortStableFunc(out, func(a, b candidate) int { return cmp.Compare(a.rank, b.rank) })
	return out
}

// Usage returns how many files of one source (see [uploads.Upload.Source]) are
// held, and their size.
func (s *Spool) Usage(source string) (files int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.usage.Of(sourceHash(source))
	return int(u.Files), u.Bytes
}
