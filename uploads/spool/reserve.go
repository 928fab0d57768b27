package spool

import (
	"errors"
	"fmt"
	"io/fs"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/disk"
)

const (
	reserveFile = "reserve"
	// reserveBytes are kept from uploads, for the records with which the spool
	// itself makes room: what was delivered, and where the journal was cut. More
	// outlasts more of them on a full disk; less leaves more to others.
	reserveBytes = 1 << 20
	// reserveShare of the free disk is the most that the reserve takes.
	reserveShare = 4
)

// record appends what the spool has to say itself. If the disk is full, the
// reserve is spent on it. build is called again for another try.
func (s *Spool) record(build func() *item) error {
	err := s.append(build())
	if disk.IsFull(err) && s.spendReserve() {
		err = s.append(build())
	}
	return err
}

// spendReserve gives the disk back what was kept for bad times; false if there
// was nothing.
func (s *Spool) spendReserve() bool {
	err := s.disk.Remove(reserveFile)
	s.reserved.Store(false)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.log.Error("reserve not given back", "err", err)
		}
		return false
	}
	s.log.Warn("the disk is full: the spool lives on its reserve")
	return true
}

// spendIfFull makes room for an open that may have to write before anything can
// be delivered.
func (s *Spool) spendIfFull() {
	if free, err := s.disk.Free(); err == nil && free < s.reserveSize() {
		s.spendReserve()
	}
}

// restoreReserve makes the reserve unless there is one, nothing to be kept, or
// no room for it.
func (s *Spool) restoreReserve() {
	s.mu.Lock()
	unused := len(s.segments) == 0
	s.mu.Unlock()
	if unused {
		return
	}
	f, err := s.disk.Open(reserveFile)
	if err == nil {
		f.Close()
		s.reserved.Store(true)
		return
	}
	size := s.reserveSize()
	if free, err := s.disk.Free(); err != nil || free < reserveShare*size {
		return
	}
	err = writeFile(s.disk, reserveFile, make([]byte, size))
	s.reserved.Store(err == nil)
	if err != nil && !disk.IsFull(err) {
		s.log.Warn("no reserve made", "err", err)
	}
}

// spareReserve refuses an upload that takes that much disk if it would live on what
// is the reserve, or was, and now is room for what the spool has to say itself. A
// spool that recycles its segments has a watermark in front of it.
func (s *Spool) spareReserve(size int64) error {
	if s.o.Recycle || s.reserved.Load() {
		return nil
	}
	free, err := s.disk.Free()
	if err != nil || free >= s.reserveSize()+size {
		return nil // if nothing can be said of the disk, writing to it will tell
	}
	return fmt.Errorf("%w: the last %d bytes of the disk are kept for deliveries", uploads.ErrFull, free)
}

func (s *Spool) reserveSize() int64 { return min(reserveBytes, s.o.SegmentBytes) }
