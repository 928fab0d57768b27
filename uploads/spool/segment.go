package spool

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"path"
	"strconv"
	"strings"

	"inventorybeacon/uploads/spool/disk"
	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/sabotage"
)

const (
	segmentDir    = "segments"
	segmentSuffix = ".seg"
	tempSuffix    = ".tmp"
)

// A segment is one journal file. Spool.mu guards its fields, except that the
// upkeep alone changes segments that are not written to any longer.
type segment struct {
	name   string // its path within the spool
	file   disk.File
	header journal.Header
	size   int64 // of the file

	tail    int64  // where the next record may go
	next    uint64 // the number behind those of its records
	index   int64  // what an index of its records may take
	full    bool   // nothing more is written to it
	broken  bool   // a write or sync failed, or the program died: never written again
	sealed  bool   // has its index
	leaving bool   // the receipts of what is in it are being written, or have been
	emptied bool   // what is in it is elsewhere, durably
	gone    bool   // its file is closed, and removed or about to be
	syncing int    // groups that are not yet acknowledged
	readers int    // who read from it
	awaited bool   // it is to be freed once nobody does
	closing bool   // nobody may begin to: it is about to be used again

	id        uint32 // by which entries know it
	live      int    // files held that are in it
	liveBytes int64  // their records
	cuts      []journal.Cut
	// low and high bound the numbers of the uploads that have a record or a mark in
	// it; low is 0 if there is none.
	low, high uint64
}

// cover takes note that something of an upload is in it.
func (s *segment) cover(seq uint64) {
	if s.low == 0 || seq < s.low {
		s.low = seq
	}
	s.high = max(s.high, seq)
}

// enlist makes a segment one that holds records.
func (s *Spool) enlist(seg *segment) {
	s.segments = append(s.segments, seg)
	for id, o := range s.byID[1:] {
		if o == nil {
			seg.id = uint32(id + 1)
			s.byID[seg.id] = seg
			return
		}
	}
	seg.id = uint32(len(s.byID))
	s.byID = append(s.byID, seg)
}

func segmentName(n uint64) string {
	return path.Join(segmentDir, fmt.Sprintf("%08d%s", n, segmentSuffix))
}

// segmentNumber reads the number in a segment's or an unfinished segment's name.
func segmentNumber(base, suffix string) (uint64, bool) {
	digits, ok := strings.CutSuffix(base, suffix)
	if !ok || len(digits) < 8 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// newGeneration returns 64 random bits; an uploader who cannot guess them
// cannot write a body that reads as a record.
func newGeneration() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// makeSegment creates a free segment, durably. With fill it is written with
// zeros to its end; pace is asked before each piece and may stop it.
func makeSegment(d disk.Disk, number uint64, capacity int64, fill bool, pace func() error) (*segment, error) {
	name := segmentName(number)
	temp := strings.TrimSuffix(name, segmentSuffix) + tempSuffix
	f, err := d.Create(temp)
	if err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	s := &segment{file: f, header: journal.Header{Counter: 1, Generation: newGeneration(), Capacity: capacity}}
	err = s.prepare(fill, pace)
	if cerr := f.Close(); err == nil { // an open file cannot be renamed everywhere
		err = cerr
	}
	if err == nil {
		err = s.publish(d, temp, name)
	}
	if err != nil {
		d.Remove(temp)
		return nil, fmt.Errorf("create segment: %w", err)
	}
	return s, nil
}

func (s *segment) prepare(fill bool, pace func() error) error {
	if err := s.writeHeader(); err != nil {
		return err
	}
	if fill {
		if err := s.fill(pace); err != nil {
			return err
		}
	}
	return s.file.Sync()
}

func (s *segment) publish(d disk.Disk, temp, name string) (err error) {
	if err := d.Rename(temp, name); err != nil {
		return err
	}
	if err := d.SyncDir(segmentDir); err != nil {
		return err
	}
	s.name = name
	s.file, err = d.Open(name)
	return err
}

func (s *segment) writeHeader() error {
	if _, err := s.file.WriteAt(s.header.Encode(), 0); err != nil {
		return fmt.Errorf("write segment header: %w", err)
	}
	s.size = max(s.size, journal.Start)
	return nil
}

// fillPiece is written between two looks at whether uploads wait. Larger
// pieces make a spare sooner and an upload wait longer.
const fillPiece = 1 << 20

// fill writes zeros up to the segment's capacity.
func (s *segment) fill(pace func() error) error {
	zeros := make([]byte, fillPiece)
	for s.size < s.header.Capacity {
		if err := pace(); err != nil {
			return err
		}
		n := min(fillPiece, s.header.Capacity-s.size)
		if _, err := s.file.WriteAt(zeros[:n], s.size); err != nil {
			return err
		}
		s.size += n
		// A sync now and then keeps the sync of an upload from waiting for all of it.
		if err := s.file.Sync(); err != nil {
			return err
		}
	}
	return nil
}

// activate makes a free segment the one that records go to. The header is
// synced with the first group. Until then a power cut brings back the header of
// the free segment; a new generation here, too, keeps the cut that may have been
// recorded of this life from being taken for one of the next.
func (s *segment) activate(base, prev uint64) error {
	s.header.Counter++
	s.header.Generation = newGeneration()
	s.header.State, s.header.Base, s.header.Prev = journal.Active, base, prev
	s.tail, s.index, s.next = journal.Start, 0, base
	return s.writeHeader()
}

// release gives the segment a new generation, durably, so that nothing in it
// is read as valid again, and returns it as a free one.
func (s *segment) release() (*segment, error) {
	free := &segment{name: s.name, file: s.file, header: s.header, size: s.size}
	free.header.Counter++
	free.header.Generation, free.header.State, free.header.Base, free.header.Prev = newGeneration(), journal.Free, 0, 0
	if err := free.writeHeader(); err != nil {
		return nil, err
	}
	if sabotage.HeaderBeforeGenerationSync {
		return free, nil
	}
	if err := s.file.Sync(); err != nil {
		return nil, fmt.Errorf("sync segment header: %w", err)
	}
	return free, nil
}

// place finds room for a record, at the beginning of a group or not.
func (s *segment) place(r *journal.Record, newGroup bool) bool {
	at := s.tail
	if newGroup {
		at = journal.AlignPage(at)
	}
	r.Generation, r.Offset = s.header.Generation, at
	index := s.index + journal.IndexBytes(*r)
	if s.full || s.broken || !journal.Room(s.header.Capacity, r.End(), index) {
		return false
	}
	s.tail, s.index = r.End(), index
	s.size = max(s.size, s.tail)
	return true
}
