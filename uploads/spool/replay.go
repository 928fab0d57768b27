package spool

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"

	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/receipts"
)

// replay turns what the journal says into what the spool holds.
func (s *Spool) replay(found []*segment) error {
	s.segments = nil
	r := &replayer{spool: s, byGeneration: map[uint64]*segment{}}
	var read []journal.Segment
	for _, seg := range found {
		if seg.header.State == journal.Free {
			s.spares = append(s.spares, seg)
			continue
		}
		s.segments = append(s.segments, seg)
		r.byGeneration[seg.header.Generation] = seg
		js := journal.Segment{Name: seg.name, Header: seg.header}
		if js.Records, js.Sealed = journal.ReadIndex(seg.file, seg.header, seg.size); !js.Sealed {
			js.Records = journal.Scan(seg.file, seg.header, seg.size)
		}
		seg.full, seg.sealed, seg.tail = true, js.Sealed, journal.Start
		for _, rec := range js.Records {
			seg.tail = max(seg.tail, rec.End())
			seg.index += journal.IndexBytes(rec)
		}
		read = append(read, js)
	}
	r.verdict = journal.Replay(read)
	return r.run()
}

// A replayer applies a verdict.
type replayer struct {
	spool        *Spool
	verdict      journal.Verdict
	byGeneration map[uint64]*segment
	entries      map[uint64]*entry
	tail         map[uint64]bool          // uploads whose only record is in a tail
	marks        []markAt                 // of tails
	last         map[uint64]*journal.Mark // of each upload, among those
	settled      map[uint64]uint32        // bits of sinks that the marks of tails add
	refused      map[uint64]uint32        // those of them that refused
	left         map[uint64]bool          // by the marks of tails
	unsaid       []markOf                 // they do not say yet that the file left
	unwanted     []uint64                 // files that wait for nobody, but were refused
}

func (r *replayer) run() error {
	s, v := r.spool, &r.verdict
	s.mark = v.Mark
	s.next = max(v.Next, s.archive.Last()+1, 1)
	s.recovery.Clean, s.recovery.Records = v.Clean, len(v.Kept)+len(v.Tail)
	r.entries, r.tail = map[uint64]*entry{}, map[uint64]bool{}
	r.last, r.left = map[uint64]*journal.Mark{}, map[uint64]bool{}
	r.settled, r.refused = map[uint64]uint32{}, map[uint64]uint32{}
	s.replaying = true
	for _, rec := range v.Kept {
		r.upload(rec, false)
	}
	for _, rec := range v.Tail {
		r.upload(rec, true)
	}
	r.notes()
	r.conclude()
	r.cuts()
	lost := r.losses()
	lost = append(lost, r.blobs()...)
	r.enter()
	r.fit()
	s.sortSegments()
	if v.Clean {
		r.resume()
	}
	if err := r.write(lost); err != nil {
		return err
	}
	if !v.Clean {
		s.log.Info("spool recovered", "records", s.recovery.Records, "pending", s.recovery.Pending,
			"cuts", len(s.recovery.Cuts), "lost", len(s.recovery.Lost))
	}
	strange := slices.ContainsFunc(s.recovery.Unknown, func(name string) bool { return path.Dir(name) == segmentDir })
	s.settle(strange || len(v.Lost) > 0)
	return nil
}

// upload enters an upload's record. A later one of the same upload is a copy
// and takes its place.
func (r *replayer) upload(rec journal.Record, tail bool) {
	if rec.Type != journal.TypeUpload {
		return
	}
	u, err := journal.DecodeUpload(rec.Meta, rec.Seq)
	if err != nil {
		r.spool.log.Error("record makes no sense", "seq", rec.Seq, "err", err)
		if !tail {
			r.verdict.Lost = append(r.verdict.Lost, journal.Loss{Generation: rec.Generation, First: rec.Seq, Last: rec.Seq})
		}
		return
	}
	r.spool.next = max(r.spool.next, u.Seq+1)
	old := r.entries[u.Seq]
	if old != nil && tail {
		return // a copy that was not finished; the first is still there
	}
	e := r.newEntry(u)
	if old != nil {
		e.stale = append(old.stale, old.seg)
	}
	e.settle(r.byGeneration[rec.Generation], rec)
	r.entries[u.Seq] = e
	if tail {
		r.tail[u.Seq] = true
	}
}

func (r *replayer) newEntry(u *journal.Upload) *entry {
	e := &entry{Upload: *u}
	if u.Name.IsZero() {
		e.nameless = true
		return e
	}
	e.file = receipts.FileID{Name: receipts.NameIDOf(u.Kind, u.Name), Digest: u.Digest}
	return e
}

// A news is a mark that was found.
type news struct {
	markAt
	tail bool
}

// notes applies the marks in the order of their numbers, which is not that of
// their records, since marks are copied.
func (r *replayer) notes() {
	var all []news
	for _, rec := range r.verdict.Kept {
		all = r.read(all, rec, false)
	}
	for _, rec := range r.verdict.Tail {
		all = r.read(all, rec, true)
	}
	slices.SortStableFunc(all, func(a, b news) int { return cmp.Compare(a.Event, b.Event) })
	for _, n := range all {
		r.note(n)
	}
}

func (r *replayer) read(all []news, rec journal.Record, tail bool) []news {
	if rec.Type != journal.TypeMarks {
		return all
	}
	marks, err := journal.DecodeMarks(rec.Meta, rec.Seq)
	if err != nil {
		r.spool.log.Error("record makes no sense", "seq", rec.Seq, "err", err)
		return all
	}
	for _, m := range marks {
		all = append(all, news{markAt{m, r.byGeneration[rec.Generation]}, tail})
	}
	return all
}

// note applies a mark. One that was recorded while another one took the file
// out of the spool did not count then and does not count now.
func (r *replayer) note(n news) {
	e := r.entries[n.Seq]
	if e == nil {
		e = r.damagedEntry(n.Mark)
	}
	r.spool.next = max(r.spool.next, n.Event+1)
	if e == nil {
		r.noteGone(n)
		return
	}
	switch known := r.known(e, n.Event); {
	case known != nil:
		if n.Left && !known.Left { // a copy that knows more
			r.leave(e, known)
		}
	case (e.left || r.left[e.Seq]) && n.Sort != journal.Learnt:
	case n.tail:
		r.noteTail(e, n.markAt)
	default:
		r.applyOld(e, n.markAt)
	}
}

// noteTail keeps a mark for being copied. It may have been acknowledged, and
// the body removed.
func (r *replayer) noteTail(e *entry, m markAt) {
	r.marks = append(r.marks, m)
	if k := r.spool.sink(m.Sink); k != nil {
		r.settled[e.Seq] |= k.bit
		r.refused[e.Seq] &^= k.bit
		if m.Sort == journal.Refused {
			r.refused[e.Seq] |= k.bit
		}
	}
	r.last[e.Seq] = m.Mark
	r.left[e.Seq] = r.left[e.Seq] || m.Left
}

// noteGone keeps what was learnt of an upload whose record is gone.
func (r *replayer) noteGone(n news) {
	s := r.spool
	same := func(m markAt) bool { return m.Event == n.Event }
	if n.Sort != journal.Learnt || slices.ContainsFunc(s.learnt[n.Seq], same) {
		return
	}
	if n.tail {
		if !slices.ContainsFunc(r.marks, func(m markAt) bool { return m.Event == n.Event }) {
			r.marks = append(r.marks, n.markAt)
		}
		return
	}
	s.learnt[n.Seq] = append(s.learnt[n.Seq], n.markAt)
}

// known finds the mark of a copy: the one before it, since they are in order.
func (r *replayer) known(e *entry, event uint64) *journal.Mark {
	if m := r.last[e.Seq]; m != nil && m.Event == event {
		return m
	}
	if n := len(e.marks); n > 0 && e.marks[n-1].Event == event {
		return e.marks[n-1].Mark
	}
	return nil
}

// leave adds to a file's last mark that it left, and sees to it that this is
// recorded.
func (r *replayer) leave(e *entry, m *journal.Mark) {
	m.Left = true
	if slices.ContainsFunc(r.marks, func(t markAt) bool { return t.Mark == m }) { // it is going to be written again anyway
		r.left[e.Seq] = true
		return
	}
	e.left = true
	r.unsaid = append(r.unsaid, markOf{e, m})
}

// conclude lets files leave that waited only for destinations which are no
// longer configured. It is recorded with the last delivery, since a later run
// may know other destinations, and none of the bodies.
func (r *replayer) conclude() {
	for _, seq := range slices.Sorted(maps.Keys(r.entries)) {
		e := r.entries[seq]
		need := r.spool.needed(e.Kind)
		refused := (e.refused &^ r.settled[seq]) | r.refused[seq]
		settled := e.got | e.refused | r.settled[seq]
		switch {
		case e.left || r.left[seq] || need == 0 || settled&need != need:
		case refused&need != 0:
			r.unwanted = append(r.unwanted, seq)
		default:
			r.leave(e, r.lastDelivery(e))
		}
	}
}

// lastDelivery finds the mark with which a file is to have left.
func (r *replayer) lastDelivery(e *entry) (last *journal.Mark) {
	for _, m := range slices.Concat(e.marks, r.marks) {
		if m.Seq == e.Seq && m.Sort == journal.Settled && (last == nil || m.Event > last.Event) {
			last = m.Mark
		}
	}
	return last
}

// damagedEntry stands for a damaged record that there is news of: an earlier
// open found it, or it had been delivered.
func (r *replayer) damagedEntry(m *journal.Mark) *entry {
	for _, l := range r.verdict.Lost {
		if e := r.lossEntry(l); e.Seq == m.Seq {
			r.entries[m.Seq] = e
			return e
		}
	}
	return nil
}

// applyOld is Spool.apply for what happened before.
func (r *replayer) applyOld(e *entry, m markAt) {
	e.marks = append(e.marks, m)
	m.seg.marked = append(m.seg.marked, e)
	if k := r.spool.sink(m.Sink); k != nil && m.Sort == journal.Refused {
		e.refused |= k.bit
	} else if k != nil {
		e.got |= k.bit
		e.refused &^= k.bit
	}
	e.lost, e.left = e.lost || m.Lost(), e.left || m.Left
	if m.Lost() {
		r.spool.losses = append(r.spool.losses, lossRef{m.Event, e.Seq})
	}
}

// cuts remembers which cut lies where, and makes the new ones.
func (r *replayer) cuts() {
	s := r.spool
	for _, rec := range r.verdict.Kept {
		if rec.Type != journal.TypeCut {
			continue
		}
		if c, err := journal.DecodeCut(rec.Meta); err == nil {
			seg := r.byGeneration[rec.Generation]
			seg.cuts = append(seg.cuts, c)
		}
	}
	for _, rec := range r.verdict.Tail {
		if c, err := journal.DecodeCut(rec.Meta); rec.Type == journal.TypeCut && err == nil {
			s.cuts = append(s.cuts, c)
		}
	}
	for _, c := range r.verdict.Cuts {
		s.cuts = append(s.cuts, c)
		seg := r.byGeneration[c.Generation]
		s.recovery.Cuts = append(s.recovery.Cuts, Cut{Segment: seg.name, Generation: c.Generation, First: c.First})
	}
	for _, c := range append(s.cuts, r.verdict.Known...) {
		if seg := r.byGeneration[c.Generation]; seg != nil {
			seg.broken = true
		}
	}
}

// losses makes entries of what was acknowledged and is unreadable, and returns
// those that were not delivered and are not in the ledger yet.
func (r *replayer) losses() (found []*entry) {
	for _, l := range r.verdict.Lost {
		e := r.lossEntry(l)
		old := r.entries[e.Seq]
		switch {
		case old == nil:
			r.entries[e.Seq] = e
			found = append(found, e)
		case old.rec.Seq != l.First: // a copy of it is sound
		case !old.left && !r.left[old.Seq]:
			found = append(found, old)
		}
	}
	return found
}

func (r *replayer) lossEntry(l journal.Loss) *entry {
	seg := r.byGeneration[l.Generation]
	u := &journal.Upload{}
	if l.Record != nil && l.Record.Type == journal.TypeUpload {
		if known, err := journal.DecodeUpload(l.Record.Meta, l.First); err == nil {
			u = known
		}
	}
	if u.Seq == 0 {
		u.Seq = l.First
	}
	e := r.newEntry(u)
	e.seg = seg
	e.rec = journal.Record{Seq: l.First, Count: uint32(l.Last - l.First + 1)}
	return e
}

// blobs finds held uploads whose body in a file of its own is gone.
func (r *replayer) blobs() (lost []*entry) {
	for seq, e := range r.entries {
		if e.Blob == "" || e.left || r.left[seq] || r.spool.hasBlob(e) {
			continue
		}
		if r.tail[seq] { // nobody was told that it is there
			delete(r.entries, seq)
			continue
		}
		lost = append(lost, e)
	}
	slices.SortFunc(lost, func(a, b *entry) int { return int(a.Seq) - int(b.Seq) })
	return lost
}

func (s *Spool) hasBlob(e *entry) bool {
	f, err := s.disk.Open(e.Blob)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist) // what cannot be read now may be later
	}
	defer f.Close()
	size, err := f.Size()
	return err != nil || size == e.Size
}

// fit makes segments large enough for every record that may have to be copied.
// They may have been larger when it was written: their size is configured, and
// depends on the free disk.
func (r *replayer) fit() {
	s := r.spool
	for _, e := range r.entries {
		if e.left || e.Blob != "" {
			continue
		}
		rec := e.rec
		rec.Meta = journal.AppendUpload(nil, &e.Upload, true)
		s.o.SegmentBytes = max(s.o.SegmentBytes, journal.Capacity(cutRoom+rec.Len(), journal.IndexBytes(rec)))
	}
}

// enter makes the entries findable and holds those that have not left.
func (r *replayer) enter() {
	s := r.spool
	seqs := make([]uint64, 0, len(r.entries))
	for seq := range r.entries {
		seqs = append(seqs, seq)
	}
	slices.Sort(seqs)
	for _, seq := range seqs {
		e := r.entries[seq]
		if e.left {
			s.know(e)
			continue
		}
		s.hold(e)
		if e.Blob != "" {
			s.counters.blobs++
			s.counters.blobBytes += e.Size
		}
	}
}
