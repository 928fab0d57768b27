package spool

import (
	"errors"
	"fmt"
	"slices"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/disk"
	"inventorybeacon/uploads/spool/journal"
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
	if err == nil {
		if err = g.seg.file.Sync(); err != nil {
			err = fmt.Errorf("sync journal: %w", roomError(err))
		}
	}
	s.mu.Lock()
	var events []Event
	s.counters.syncs++
	if err == nil {
		events = s.acknowledge(g)
	} else {
		s.abandon(g, err)
	}
	s.mu.Unlock()
	close(g.done)
	if s.o.Observe != nil {
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
		o.seg.syncing--
		if !o.seg.broken {
			o.seg.broken, o.seg.full = true, true
			s.cuts = append(s.cuts, journal.Cut{Generation: o.seg.header.Generation, First: o.items[0].rec.Seq})
		}
		s.requeueCuts(o)
		if i > 0 {
			close(o.done)
		}
		s.log.Error("journal segment failed", "segment", o.seg.name, "records", len(o.items), "err", err)
	}
}

// requeueCuts takes back the cuts of a group that failed.
func (s *Spool) requeueCuts(g *group) {
	for _, it := range g.items {
		if it.rec.Type != journal.TypeCut {
			continue
		}
		if c, err := journal.DecodeCut(it.rec.Meta); err == nil {
			s.cuts = append(s.cuts, c)
		}
	}
}

// turn replaces the active segment by a fresh one. s.mu is held on entry and
// return, but not while a segment is made.
func (s *Spool) turn() error {
	if s.turning != nil {
		wait := s.turning
		s.mu.Unlock()
		<-wait
		s.mu.Lock()
		return nil
	}
	s.turning = make(chan struct{})
	defer func() {
		close(s.turning)
		s.turning = nil
	}()
	fresh, err := s.fresh()
	if err != nil {
		return roomError(err)
	}
	return s.install(fresh)
}

// fresh takes a spare, or makes a segment that grows as it is written.
func (s *Spool) fresh() (*segment, error) {
	if n := len(s.spares); n > 0 {
		seg := s.spares[n-1]
		s.spares = s.spares[:n-1]
		s.kick()
		return seg, nil
	}
	if seg := s.takeSurplus(); seg != nil {
		return seg, nil
	}
	number := s.nextFile
	s.nextFile++
	s.mu.Unlock()
	defer s.mu.Lock()
	return makeSegment(s.disk, number, s.o.SegmentBytes, false, nil)
}

// takeSurplus takes a free segment that was to be filled first.
func (s *Spool) takeSurplus() *segment {
	i := slices.IndexFunc(s.surplus, func(seg *segment) bool { return seg.header.Capacity == s.o.SegmentBytes })
	if i < 0 {
		return nil
	}
	seg := s.surplus[i]
	s.surplus = slices.Delete(s.surplus, i, i+1)
	return seg
}

// install makes a free segment the active one. Cuts that are still to be
// recorded are its first records.
func (s *Spool) install(seg *segment) error {
	s.closeGroup()
	if s.active != nil {
		s.active.full = true
	}
	if err := seg.activate(s.next, s.lastGeneration); err != nil {
		seg.broken, seg.full = true, true
		s.segments = append(s.segments, seg) // the upkeep removes it
		s.kick()
		return roomError(err)
	}
	s.lastGeneration = seg.header.Generation
	s.active = seg
	s.segments = append(s.segments, seg)
	s.kick()
	if s.replaying {
		return nil // the tails come first
	}
	return s.recordCuts()
}

// recordCuts writes the cuts that every later acknowledgement depends on.
// They share the next group, and so its sync.
func (s *Spool) recordCuts() error {
	for len(s.cuts) > 0 {
		c := s.cuts[0]
		it := newItem(journal.TypeCut, 1, journal.AppendCut(nil, c))
		it.durable = func(seg *segment, _ journal.Record) []Event {
			seg.cuts = append(seg.cuts, c)
			return nil
		}
		if !s.active.place(&it.rec, s.group == nil) {
			return errors.New("segment too small for its cuts")
		}
		g := s.enroll(it)
		err := s.write(s.active, it)
		s.wrote(g, err)
		if err != nil {
			// Not recorded: nothing may follow in this segment.
			if g.err == nil {
				g.err = err
			}
			s.active.full = true
			s.active = nil
			s.closeGroup()
			return err
		}
		s.cuts = s.cuts[1:]
	}
	return nil
}
