package spool

import (
	"errors"
	"fmt"
	"slices"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/disk"
	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/sabotage"
)

// An item is a record on its way into the journal.
type item struct {
	rec journal.Record
	// buf holds room for the header, the metadata, and the body.
	buf []byte
	seg *segment // where it went
	// durable is called with Spool.mu held when the record is, in the order of
	// the numbers. It returns the events to tell observers.
	durable func(seg *segment, r journal.Record) []Event
}

// newItem makes a record without body.
func newItem(t journal.Type, count int, meta []byte) *item {
	it := &item{buf: make([]byte, journal.RecordHeader, journal.RecordHeader+len(meta))}
	it.buf = append(it.buf, meta...)
	it.rec = journal.Record{Type: t, Count: uint32(count), Meta: it.buf[journal.RecordHeader:]}
	return it
}

// A group is what one sync makes durable.
type group struct {
	seg       *segment
	items     []*item
	closed    bool
	unwritten int
	written   chan struct{} // closed when it is closed and nothing is unwritten
	done      chan struct{} // closed when err is final
	err       error
}

// append writes a record and returns when it, and everything before it, is
// durable. After an error the record never counts.
func (s *Spool) append(it *item) error {
	s.mu.Lock()
	s.appending++
	g, err := s.reserve(it)
	s.mu.Unlock()
	defer s.appended()
	if err != nil {
		return err
	}
	werr := s.write(g.seg, it)
	s.mu.Lock()
	s.wrote(g, werr)
	s.mu.Unlock()
	if err := s.await(g); err != nil {
		return err
	}
	return werr
}

func (s *Spool) appended() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.appending--; s.appending == 0 {
		s.idle.Broadcast()
	}
}

// reserve gives a record its number and its place. s.mu is held, and let go
// while a new segment is made.
func (s *Spool) reserve(it *item) (*group, error) {
	if !journal.Room(s.o.SegmentBytes, cutRoom+it.rec.Len(), journal.IndexBytes(it.rec)) {
		return nil, fmt.Errorf("record of %d bytes does not fit in a segment of %d", it.rec.Len(), s.o.SegmentBytes)
	}
	for s.active == nil || !s.active.place(&it.rec, s.group == nil) {
		if err := s.turn(); err != nil {
			return nil, err
		}
	}
	return s.enroll(it), nil
}

// cutRoom is left at the start of a segment for the cuts it may begin with.
const cutRoom = journal.Start + 2*journal.Page

// enroll adds a placed record to the open group.
func (s *Spool) enroll(it *item) *group {
	it.seg = s.active
	it.rec.Seq, it.rec.Mark = s.next, s.mark
	s.next += uint64(it.rec.Count)
	s.active.next = s.next
	g := s.group
	if g == nil {
		g = &group{seg: s.active, written: make(chan struct{}), done: make(chan struct{})}
		s.group = g
		s.active.syncing++
	}
	g.items = append(g.items, it)
	g.unwritten++
	return g
}

func (s *Spool) write(seg *segment, it *item) error {
	it.rec.PutHeader(it.buf)
	_, err := seg.file.WriteAt(it.buf, it.rec.Offset)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("write journal: %w", roomError(err))
	// The range must not stay a hole among acknowledged records.
	if _, verr := seg.file.WriteAt(it.rec.EncodeVoid(), it.rec.Offset); verr != nil {
		return &brokenError{err}
	}
	it.durable = nil
	return err
}

// A brokenError means that a segment could not even be told of a failed write.
type brokenError struct{ error }

func (e *brokenError) Unwrap() error { return e.error }

func roomError(err error) error {
	if disk.IsFull(err) {
		return fmt.Errorf("%w: %w", uploads.ErrFull, err)
	}
	return err
}

// wrote takes note that a member of the group has been written or has failed.
func (s *Spool) wrote(g *group, err error) {
	if err != nil && g.err == nil {
		if _, broken := errors.AsType[*brokenError](err); broken {
			g.err = err
		}
	}
	if g.unwritten--; g.unwritten == 0 && g.closed {
		close(g.written)
	}
}

// await waits until the group is durable. Whoever waits first does the work
// for all: it syncs the oldest group, until its own was among them.
func (s *Spool) await(g *group) error {
	if s.ackEarly {
		return nil
	}
	for {
		select {
		case <-g.done:
			return g.err
		case s.baton <- struct{}{}:
		}
		select {
		case <-g.done: // somebody else did it while this waited for the baton
		default:
			s.flush()
		}
		<-s.baton
	}
}

// flush makes the oldest group durable. The caller holds the baton.
func (s *Spool) flush() {
	g := s.oldestGroup()
	if g == nil {
		return
	}
	<-g.written
	s.mu.Lock()
	err := g.err
	s.mu.Unlock()
	if err == nil && !sabotage.AckBeforeSync {
		if err = g.seg.file.Sync(); err != nil {
			err = fmt.Errorf("sync journal: %w", roomError(err))
		}
	}
	s.mu.Lock()
	var events []Event
	opening := s.upkeep.opening
	s.counters.syncs++
	if err == nil {
		events = s.acknowledge(g)
	} else {
		s.abandon(g, err)
	}
	s.mu.Unlock()
	close(g.done)
	if sabotage.AckBeforeSync {
		g.seg.file.Sync()
	}
	if s.o.Observe != nil && !opening {
		for _, e := range events {
			s.o.Observe(e)
		}
	}
}

// oldestGroup closes the group that is to be synced next: later records go to
// another one, on pages of their own.
func (s *Spool) oldestGroup() *group {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.groups) == 0 {
		s.closeGroup()
	}
	if len(s.groups) == 0 {
		return nil
	}
	g := s.groups[0]
	s.groups = s.groups[1:]
	return g
}

func (s *Spool) closeGroup() {
	g := s.group
	if g == nil {
		return
	}
	s.group = nil
	s.groups = append(s.groups, g)
	g.closed = true
	if g.unwritten == 0 {
		close(g.written)
	}
}

// acknowledge lets a durable group count.
func (s *Spool) acknowledge(g *group) (events []Event) {
	g.seg.syncing--
	if s.o.Observe != nil {
		events = make([]Event, 0, len(g.items))
	}
	for _, it := range g.items {
		if !s.replaying {
			s.mark = it.rec.Last()
		}
		if it.durable == nil {
			continue
		}
		if told := it.durable(g.seg, it.rec); s.o.Observe != nil {
			events = append(events, told...)
		}
	}
	if g.seg.full && g.seg.syncing == 0 {
		s.kick()
	}
	return events
}

// abandon gives up after a failed write or sync: this group and all later ones
// fail, their segments are never written again, and the next segment begins
// with the cuts. That the disk failed for one segment only is not worth the
// care that telling them apart would take.
func (s *Spool) abandon(g *group, err error) {
	s.counters.syncErrors++
	s.closeGroup()
	failed := append([]*group{g}, s.groups...)
	s.groups, s.active = nil, nil
	for i, o := range failed {
		o.err = err
		s.condemn(o)
		if i > 0 {
			close(o.done)
		}
		s.log.Error("journal segment failed", "segment", o.seg.name, "records", len(o.items), "err", err)
	}
}

// condemn ends the use of the segment of a group that failed, and takes back
// the group's cuts.
func (s *Spool) condemn(g *group) {
	g.seg.syncing--
	if !g.seg.broken {
		g.seg.broken, g.seg.full = true, true
		s.cuts = append(s.cuts, journal.Cut{Generation: g.seg.header.Generation, First: g.items[0].rec.Seq})
	}
	for _, it := range g.items {
		if it.rec.Type != journal.TypeCut {
			continue
		}
		if c, err := journal.DecodeCut(it.rec.Meta); err == nil && !slices.Contains(s.cuts, c) {
			s.cuts = append(s.cuts, c)
		}
	}
}
