package spool

import (
	"cmp"
	"slices"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/receipts"
)

// An entry is an upload whose record is on disk, held or not. Spool.mu guards
// it; Upload does not change.
type entry struct {
	journal.Upload
	file     receipts.FileID
	nameless bool // lost to damage, and nothing is known of it

	seg *segment
	rec journal.Record // without metadata
	// metaLen is how much metadata the record has.
	metaLen int

	got     uint32 // bits of the sinks that have it
	refused uint32 // bits of those that will never take it
	left    bool   // the spool holds it no longer
	lost    bool
	marks   []markAt

	// older and newer are the ones before and after it of the same name. Both ways
	// are kept because one name may have very many.
	older, newer *entry
	stale        []*segment // that hold its record too, since it was copied
}

// A markAt is a mark and where it is recorded.
type markAt struct {
	*journal.Mark
	seg *segment
}

// length is that of the record from header to body.
func (e *entry) length() int64 { return journal.RecordHeader + int64(e.metaLen) + e.rec.BodyLen }

// receipt tells the whole of who has it.
func (s *Spool) receipt(e *entry) uploads.Receipt {
	var marks []*journal.Mark
	for _, m := range e.marks {
		marks = append(marks, m.Mark)
	}
	for _, m := range s.learnt[e.Seq] {
		marks = append(marks, m.Mark)
	}
	return receiptOf(&e.Upload, marks)
}

func receiptOf(u *journal.Upload, marks []*journal.Mark) uploads.Receipt {
	r := u.Receipt()
	for _, m := range marks {
		r.Custody = append(r.Custody, unknownCustody(r.Custody, m.Custody)...)
	}
	return r
}

// unknownCustody returns those of c whose holder does not stand in known at
// that level.
func unknownCustody(known, c []uploads.Custody) (out []uploads.Custody) {
	for _, c := range c {
		same := func(k uploads.Custody) bool { return k.Level == c.Level && k.Beacon == c.Beacon }
		if !slices.ContainsFunc(known, same) && !slices.ContainsFunc(out, same) {
			out = append(out, c)
		}
	}
	return out
}

// A sink is a destination with what it has not got.
type sink struct {
	SinkName
	bit     uint32
	added   chan struct{}
	pending queue
	skipped uint64
}

func (k *sink) wants(e *entry) bool { return !e.left && (e.got|e.refused)&k.bit == 0 }

func (k *sink) notify() {
	select {
	case k.added <- struct{}{}:
	default:
	}
}

// A queue is entries in the order of their numbers, of which others than the
// first may have left it.
type queue struct {
	entries []*entry
	count   int // that are still in it
	bytes   int64
}

func (q *queue) add(e *entry) {
	q.entries = append(q.entries, e)
	q.count++
	q.bytes += e.Size
}

// drop takes out one entry; in tells which ones are still there.
func (q *queue) drop(e *entry, in func(*entry) bool) {
	q.count--
	q.bytes -= e.Size
	for len(q.entries) > 0 && !in(q.entries[0]) {
		q.entries = q.entries[1:]
	}
	// Sweeping when half are gone keeps the work for each entry constant.
	if len(q.entries) > 64 && q.count < len(q.entries)/2 {
		q.entries = slices.DeleteFunc(q.entries, func(e *entry) bool { return !in(e) })
	}
}

// oldest is when the first was accepted.
func (q *queue) oldest() time.Time {
	if len(q.entries) == 0 {
		return time.Time{}
	}
	return q.entries[0].Received
}

func (q *queue) from(after uint64) []*entry {
	i, found := slices.BinarySearchFunc(q.entries, after, func(e *entry, seq uint64) int { return cmp.Compare(e.Seq, seq) })
	if found {
		i++
	}
	return q.entries[i:]
}

func isHeld(e *entry) bool { return !e.left }

// Pending returns up to limit files that the sink has not got, with Seq above
// after, in ascending order.
func (s *Spool) Pending(name string, after uint64, limit int) []uploads.Upload {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.sink(name)
	if k == nil {
		return nil
	}
	var out []uploads.Upload
	for _, e := range k.pending.from(after) {
		if len(out) >= limit {
			break
		}
		if k.wants(e) {
			out = append(out, e.Upload.Upload)
		}
	}
	return out
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

// needed returns the bits of the sinks that must have a file of a kind before
// it may leave; none means that it stays.
func (s *Spool) needed(kind string) uint32 {
	var required, all uint32
	for _, k := range s.sinks {
		if !k.takes(kind) {
			continue
		}
		all |= k.bit
		if k.Required {
			required |= k.bit
		}
	}
	if required == 0 {
		return all
	}
	return required
}

// hold makes e a held file; its number is higher than any other's.
func (s *Spool) hold(e *entry) {
	s.know(e)
	e.seg.live++
	e.seg.liveBytes += e.rec.Len()
	s.held.add(e)
	s.use(e, 1)
	for _, k := range s.sinks {
		if k.takes(e.Kind) && k.wants(e) {
			k.pending.add(e)
			k.notify()
		}
	}
}

// know makes e findable.
func (s *Spool) know(e *entry) {
	s.entries[e.Seq] = e
	e.seg.entries = append(e.seg.entries, e)
	if e.nameless {
		return
	}
	if e.older = s.names[e.file.Name]; e.older != nil {
		e.older.newer = e
	}
	s.names[e.file.Name] = e
	s.files[e.file] = e
}

// apply lets a mark of a held file count and returns its event.
func (s *Spool) apply(e *entry, m *journal.Mark, seg *segment) Event {
	e.marks = append(e.marks, markAt{m, seg})
	seg.marked = append(seg.marked, e)
	switch {
	case m.Lost():
		s.counters.lost[m.Reason]++
		e.lost = true
		s.losses = append(s.losses, lossRef{m.Event, e.Seq})
	case m.Sort == journal.Refused:
		s.refused(e, m.Sink)
	case m.Sort == journal.Settled:
		s.counters.delivered++
		s.took(e, m.Sink)
	}
	if m.Left {
		s.dismiss(e)
	}
	return eventOf(&e.Upload, m)
}

func (s *Spool) took(e *entry, name string) {
	k := s.sink(name)
	if k == nil || e.got&k.bit != 0 {
		return
	}
	waited := k.takes(e.Kind) && k.wants(e)
	e.got |= k.bit
	e.refused &^= k.bit
	if waited {
		k.pending.drop(e, k.wants)
	}
}

func (s *Spool) refused(e *entry, name string) {
	k := s.sink(name)
	if k == nil || !k.takes(e.Kind) || !k.wants(e) {
		return
	}
	e.refused |= k.bit
	k.pending.drop(e, k.wants)
}

// dismiss takes a held file out of the spool.
func (s *Spool) dismiss(e *entry) {
	var waiting []*sink
	for _, k := range s.sinks {
		if k.takes(e.Kind) && k.wants(e) {
			waiting = append(waiting, k)
		}
	}
	e.left = true
	for _, k := range waiting {
		k.pending.drop(e, k.wants)
		if !e.lost {
			k.skipped++
		}
	}
	s.held.drop(e, isHeld)
	s.use(e, -1)
	e.seg.live--
	e.seg.liveBytes -= e.rec.Len()
	if e.Blob != "" {
		s.counters.blobs--
		s.counters.blobBytes -= e.Size
		s.upkeep.blobs = append(s.upkeep.blobs, e.Blob)
		s.kick()
	}
	if e.seg.live == 0 {
		s.kick()
	}
}

func acceptedEvent(u *journal.Upload) Event {
	return Event{Seq: u.Seq, What: Accepted, At: u.Received, Upload: u.Upload}
}

func eventOf(u *journal.Upload, m *journal.Mark) Event {
	e := Event{Seq: m.Event, What: Delivered, At: m.At, Upload: u.Upload, Sink: m.Sink, Custody: m.Custody, Left: m.Left}
	e.Reason, e.Detail = m.Reason, m.Detail
	switch {
	case m.Lost():
		e.What = Lost
	case m.Sort == journal.Flagged:
		e.What = Flagged
	case m.Sort == journal.Refused:
		e.What = Refused
	case m.Sort == journal.Learnt:
		e.What = Learnt
	}
	return e
}
