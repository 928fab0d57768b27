package spool

import (
	"crypto/sha256"
	"hash/maphash"
	"strings"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/receipts"
	"inventorybeacon/uploads/spool/register"
)

// An entry is an upload whose record is on disk, held or not: what is known of
// it without reading. Spool.mu guards it, and it may be elsewhere after the lock
// was let go.
type entry = register.Entry

// seed makes the hashes of every process differ, so that nobody can send names
// whose hashes collide.
var seed = maphash.MakeSeed()

func nameHash(id receipts.NameID) uint32 { return uint32(maphash.Bytes(seed, id[:])) }

func fileHash(id receipts.FileID) uint32 { return uint32(maphash.Bytes(seed, fileBytes(id))) }

func sourceHash(source string) uint64 { return maphash.String(seed, source) }

// nameID is [receipts.NameIDOf] for a name as the journal has it.
func nameID(kind, name string) receipts.NameID {
	sum := sha256.Sum256([]byte(kind + "\n" + strings.ToLower(name)))
	return receipts.NameID(sum[:len(receipts.NameID{})])
}

// newEntry returns the entry of an upload that has no place yet. s.mu is held.
func (s *Spool) newEntry(u *journal.Upload, id receipts.FileID) entry {
	e := entry{
		Seq: u.Seq, Size: u.Size, Received: u.Received.UnixMilli(),
		Source: sourceHash(u.Source()), Line: KeyOf(u.Upload).Source,
		Name: nameHash(id.Name), File: fileHash(id), Kind: s.kinds.number(u.Kind),
	}
	if u.Blob != "" {
		e.Flags |= register.Blob
	}
	return e
}

// kinds gives folders numbers, and remembers which destinations take them.
type kinds struct {
	numbers map[string]uint32
	list    []kindOf
	sinks   []*sink
}

type kindOf struct {
	name  string
	takes uint32 // bits of the sinks that take it
	// needs are the bits of those that must have a file before it may leave; none
	// means that it stays.
	needs uint32
}

func (k *kinds) number(name string) uint32 {
	n, ok := k.numbers[name]
	if !ok {
		n = k.add(strings.Clone(name))
	}
	return n
}

func (k *kinds) add(name string) uint32 {
	o := kindOf{name: name}
	for _, sink := range k.sinks {
		if !sink.takes(name) {
			continue
		}
		o.takes |= sink.bit
		if sink.Required {
			o.needs |= sink.bit
		}
	}
	if o.needs == 0 {
		o.needs = o.takes
	}
	n := uint32(len(k.list))
	k.list = append(k.list, o)
	k.numbers[name] = n
	return n
}

func (s *Spool) kindOf(e *entry) *kindOf { return &s.kinds.list[e.Kind] }

// inline is how much body the entry's record has.
func inline(e *entry) int64 {
	if e.Is(register.Blob) {
		return 0
	}
	return e.Size
}

// recordLen is the length of the entry's record in the file.
func recordLen(e *entry) int64 {
	return journal.AlignBlock(journal.RecordHeader + int64(e.Meta) + inline(e))
}

func isHeld(e *entry) bool { return !e.Is(register.Left) }

// A sink is a destination with what it has not got.
type sink struct {
	SinkName
	bit     uint32
	added   chan struct{}
	pending queue
	skipped uint64
}

// wants says whether a file that it takes is still to be offered to it.
func (k *sink) wants(e *entry) bool { return isHeld(e) && (e.Got|e.Refused)&k.bit == 0 }

func (k *sink) notify() {
	select {
	case k.added <- struct{}{}:
	default:
	}
}

// A queue counts entries that are in it.
type queue struct {
	count int
	bytes int64
	first uint64 // no entry with a lower number is in it
}

func (q *queue) add(e *entry) {
	if q.count == 0 {
		q.first = e.Seq
	}
	q.count++
	q.bytes += e.Size
}

func (q *queue) drop(e *entry) {
	q.count--
	q.bytes -= e.Size
}

// oldest is when the first one was accepted; in tells which ones are in it.
func (s *Spool) oldest(q *queue, in func(*entry) bool) time.Time {
	if q.count == 0 {
		return time.Time{}
	}
	for _, e := range s.register.From(q.first) {
		if in(e) {
			q.first = e.Seq
			return time.UnixMilli(e.Received).UTC()
		}
	}
	return time.Time{}
}

func (s *Spool) pendingFor(k *sink) func(*entry) bool {
	return func(e *entry) bool { return s.kindOf(e).takes&k.bit != 0 && k.wants(e) }
}

// Added returns a channel that gets a token whenever something may have become
// pending for the sink. It is the same channel every time.
func (s *Spool) Added(name string) <-chan struct{} {
	if k := s.sink(name); k != nil {
		return k.added
	}
	return nil
}

func (s *Spool) sink(name string) *sink {
	for _, k := range s.sinks {
		if k.Name == name {
			return k
		}
	}
	return nil
}

// settle says where e's record is.
func (s *Spool) settle(e *entry, seg *segment, offset int64, meta int) {
	e.Segment, e.Block, e.Meta = seg.id, uint32(offset/journal.Block), uint32(meta)
	seg.cover(e.Seq)
}

// hold makes e, which has not left, a held file.
func (s *Spool) hold(e *entry) {
	seg := s.byID[e.Segment]
	seg.live++
	seg.liveBytes += recordLen(e)
	s.held.add(e)
	s.usage.Add(e.Source, 1, e.Size)
	for _, k := range s.sinks {
		if s.kindOf(e).takes&k.bit != 0 && k.wants(e) {
			k.pending.add(e)
			k.notify()
		}
	}
	if e.Is(register.Blob) {
		s.counters.blobs++
		s.counters.blobBytes += e.Size
	}
}

// apply lets a durable mark count; false if it came too late to.
func (s *Spool) apply(m *journal.Mark, seg *segment, offset int64) bool {
	if m.Sort == journal.Learnt {
		s.learn(m, seg, offset)
		return true
	}
	_, e := s.register.Find(m.Seq)
	if e == nil || !isHeld(e) {
		return false // it left in the meantime by another mark
	}
	s.noteAt(e, m.Event, seg, offset)
	switch {
	case m.Lost():
		s.counters.lost[m.Reason]++
		e.Flags |= register.Lost
		s.addLoss(lossRef{m.Event, e.Seq})
	case m.Sort == journal.Refused:
		s.refused(e, m.Sink)
	case m.Sort == journal.Settled && !replaces(m):
		s.counters.delivered++
		s.took(e, m.Sink)
	}
	if m.Left {
		s.dismiss(e, !m.Lost() && !replaces(m))
	}
	return true
}

// noteAt adds to an entry where one of its marks is.
func (s *Spool) noteAt(e *entry, event uint64, seg *segment, offset int64) {
	e.Marks = s.marks.Append(e.Marks, register.Mark{Event: event, Segment: seg.id, Block: uint32(offset / journal.Block)})
	seg.cover(e.Seq)
}

func (s *Spool) took(e *entry, name string) {
	k := s.sink(name)
	if k == nil || e.Got&k.bit != 0 {
		return
	}
	waited := s.pendingFor(k)(e)
	e.Got |= k.bit
	e.Refused &^= k.bit
	if waited {
		k.pending.drop(e)
	}
}

func (s *Spool) refused(e *entry, name string) {
	if k := s.sink(name); k != nil && s.pendingFor(k)(e) {
		e.Refused |= k.bit
		k.pending.drop(e)
	}
}

// dismiss takes a held file out of the spool, which its sinks that do not have it
// may have to count as skipped.
func (s *Spool) dismiss(e *entry, skipped bool) {
	for _, k := range s.sinks {
		if !s.pendingFor(k)(e) {
			continue
		}
		k.pending.drop(e)
		if skipped {
			k.skipped++
		}
	}
	e.Flags |= register.Left
	s.held.drop(e)
	s.usage.Add(e.Source, -1, -e.Size)
	seg := s.byID[e.Segment]
	seg.live--
	seg.liveBytes -= recordLen(e)
	if e.Is(register.Blob) {
		s.counters.blobs--
		s.counters.blobBytes -= e.Size
		s.upkeep.blobs = append(s.upkeep.blobs, e.Seq)
		s.kick()
	}
	if seg.live == 0 {
		s.kick()
	}
}

func acceptedEvent(u *journal.Upload) Event {
	return Event{Seq: u.Seq, What: Accepted, At: u.Received, Upload: u.Upload}
}

func eventOf(u *journal.Upload, m *journal.Mark) Event {
	e := Event{
		Seq: m.Event, What: Delivered, At: m.At, Upload: u.Upload, Sink: m.Sink, Custody: m.Custody, Left: m.Left,
		Reason: m.Reason, Detail: m.Detail,
	}
	switch {
	case m.Lost():
		e.What = Lost
	case replaces(m):
		e.What = Replaced
	case m.Sort == journal.Flagged:
		e.What = Flagged
	case m.Sort == journal.Refused:
		e.What = Refused
	case m.Sort == journal.Learnt:
		e.What = Learnt
	}
	return e
}

func receiptOf(u *journal.Upload, marks []*journal.Mark) uploads.Receipt {
	r := u.Receipt()
	for _, m := range marks {
		r.Custody = append(r.Custody, unknownCustody(r.Custody, m.Custody)...)
	}
	return r
}
