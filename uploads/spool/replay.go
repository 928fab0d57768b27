package spool

import (
	"errors"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/receipts"
	"inventorybeacon/uploads/spool/register"
)

// replay turns what the journal says into what the spool holds.
func (s *Spool) replay(opened []*segment) error {
	s.segments = nil
	r := &replayer{spool: s, byGeneration: map[uint64]*segment{}, indexes: map[*segment]*journal.Index{}}
	for _, seg := range opened {
		if seg.header.State == journal.Free {
			s.spares = append(s.spares, seg)
			continue
		}
		s.enlist(seg)
		r.byGeneration[seg.header.Generation] = seg
	}
	s.sortSegments()
	r.verdict = journal.Replay(r.read())
	return r.run()
}

// A replayer applies a verdict.
type replayer struct {
	spool        *Spool
	verdict      journal.Verdict
	byGeneration map[uint64]*segment
	indexes      map[*segment]*journal.Index // of segments whose records the verdict does not list
	glance       journal.Glance
	stray        map[uint64]entry  // entries that come out of order
	blobNames    map[uint64]string // of bodies in files of their own
	damaged      []found
	news         []news
	tail         map[uint64]bool   // uploads whose only record is in a tail
	marks        []*news           // of tails
	settled      map[uint64]uint32 // bits of sinks that the marks of tails add
	refused      map[uint64]uint32 // those of them that refused
	left         map[uint64]bool   // by the marks of tails
	unsaid       []markOf          // they do not say yet that the file left
	delivered    []uint64          // files that wait for nobody
	unwanted     []uint64          // the same, but one who had to have them refused them
}

// found is an upload that was acknowledged and that the disk did not keep.
type found struct {
	seq, through uint64
	nameless     bool
	loss         journal.Loss
}

// read reads the segments, of the sealed ones the index alone. Its records are
// gone through one by one later, unless a cut has to be made among them.
func (r *replayer) read() (read []journal.Segment) {
	s := r.spool
	cut := map[uint64]bool{}
	note := func(rec journal.Record) {
		if c, err := journal.DecodeCut(rec.Meta); rec.Type == journal.TypeCut && err == nil {
			cut[c.Generation] = true
		}
	}
	for _, seg := range s.segments {
		js := journal.Segment{Name: seg.name, Header: seg.header}
		x, ok := journal.OpenIndex(seg.file, seg.header, seg.size)
		var sum journal.Summary
		if ok {
			sum, ok = x.Summary()
		}
		if ok {
			js.Sealed, js.Summary, r.indexes[seg] = true, &sum, x
			for _, rec := range sum.Cuts {
				note(rec)
			}
		} else {
			js.Records = journal.Scan(seg.file, seg.header, seg.size)
			for _, rec := range js.Records {
				note(rec)
			}
		}
		read = append(read, js)
	}
	for i, seg := range s.segments {
		js := &read[i]
		if js.Summary != nil && cut[seg.header.Generation] {
			delete(r.indexes, seg)
			js.Summary = nil
			js.Records, js.Sealed = journal.ReadIndex(seg.file, seg.header, seg.size)
		}
		seg.full, seg.sealed, seg.tail, seg.next = true, js.Sealed, journal.Start, seg.header.Base
		for _, rec := range js.Records {
			seg.tail, seg.next = max(seg.tail, rec.End()), max(seg.next, rec.Last()+1)
			seg.index += journal.IndexBytes(rec)
		}
	}
	return read
}

func (r *replayer) run() error {
	s, v := r.spool, &r.verdict
	s.mark = v.Mark
	s.next = max(v.Next, s.archive.Last()+1, 1)
	s.recovery.Clean = v.Clean
	r.stray, r.blobNames, r.tail = map[uint64]entry{}, map[uint64]string{}, map[uint64]bool{}
	r.settled, r.refused, r.left = map[uint64]uint32{}, map[uint64]uint32{}, map[uint64]bool{}
	s.replaying = true
	for rec := range r.kept() {
		r.record(rec, false)
	}
	for _, rec := range v.Tail {
		r.record(rec, true)
	}
	r.gaps()
	s.register.Insert(slices.Collect(maps.Values(r.stray)))
	r.notes()
	r.conclude()
	r.cuts()
	lost := append(r.losses(), r.blobs()...)
	r.enter()
	s.sortSegments()
	if v.Clean {
		r.resume()
	}
	r.news = nil // its memory is wanted
	if err := r.write(lost); err != nil {
		return err
	}
	if !v.Clean {
		s.log.Info("spool recovered", "records", s.recovery.Records, "pending", s.recovery.Pending,
			"cuts", len(s.recovery.Cuts), "lost", len(s.recovery.Lost))
	}
	strange := slices.ContainsFunc(s.recovery.Unknown, func(name string) bool { return path.Dir(name) == segmentDir })
	s.ready(strange || len(v.Lost) > 0, r.referenced())
	return nil
}

// kept yields the records that count, ascending by number.
func (r *replayer) kept() iter.Seq[journal.Record] {
	listed := map[uint64][]journal.Record{}
	for _, rec := range r.verdict.Kept {
		listed[rec.Generation] = append(listed[rec.Generation], rec)
	}
	return func(yield func(journal.Record) bool) {
		for _, seg := range r.spool.segments {
			records := slices.Values(listed[seg.header.Generation])
			if x := r.indexes[seg]; x != nil {
				records = x.Records()
			}
			for rec := range records {
				if !yield(rec) {
					return
				}
			}
		}
	}
}

// record enters a record, whose metadata is valid for the moment.
func (r *replayer) record(rec journal.Record, tail bool) {
	r.spool.recovery.Records++
	var err error
	switch rec.Type {
	case journal.TypeUpload:
		err = r.upload(rec, tail)
	case journal.TypeMarks:
		err = r.readNews(rec, tail)
	case journal.TypeCut:
		r.cut(rec, tail)
	}
	if err == nil {
		return
	}
	r.spool.log.Error("record makes no sense", "seq", rec.Seq, "err", err)
	if rec.Type == journal.TypeUpload && !tail {
		r.verdict.Lost = append(r.verdict.Lost, journal.Loss{Generation: rec.Generation, First: rec.Seq, Last: rec.Seq})
	}
}

// upload enters an upload's record. A later one of the same upload is a copy
// and takes its place.
func (r *replayer) upload(rec journal.Record, tail bool) error {
	if err := r.glance.Look(rec.Meta, rec.Seq); err != nil {
		return err
	}
	s, seq := r.spool, r.glance.Seq
	s.next = max(s.next, seq+1)
	seg := r.byGeneration[rec.Generation]
	old, ok := r.find(seq)
	if ok && tail {
		return nil // a copy that was not finished; the first is still there
	}
	e := r.entry()
	s.settle(&e, seg, rec.Offset, len(rec.Meta))
	if e.Is(register.Blob) {
		r.blobNames[seq] = string(r.glance.Blob)
	}
	if tail {
		r.tail[seq] = true
	}
	if !ok {
		r.add(e)
		return nil
	}
	s.stale[seq] = append(s.stale[seq], s.byID[old.Segment])
	old.Segment, old.Block, old.Meta = e.Segment, e.Block, e.Meta
	r.put(old)
	return nil
}

// add enters an entry that is new.
func (r *replayer) add(e entry) {
	if e.Seq > r.spool.register.Last() {
		r.spool.register.Add(e)
	} else {
		r.stray[e.Seq] = e
	}
}

// find and put read and write an entry wherever it is.
func (r *replayer) find(seq uint64) (entry, bool) {
	if _, e := r.spool.register.Find(seq); e != nil {
		return *e, true
	}
	e, ok := r.stray[seq]
	return e, ok
}

func (r *replayer) put(e entry) {
	if _, known := r.spool.register.Find(e.Seq); known != nil {
		*known = e
		return
	}
	r.stray[e.Seq] = e
}

// entry makes one of what was glanced at, which are strings that live for the
// moment alone, and so are copied where they are kept.
func (r *replayer) entry() entry {
	g := &r.glance
	u := uploads.Upload{Device: uploads.Device{Domain: string(g.Domain), Name: string(g.Device)}, Peer: string(g.Peer)}
	if len(g.LastVia) > 0 {
		u.Via = []string{string(g.LastVia)}
	}
	kind := string(g.Kind)
	id := receipts.FileID{Name: nameID(kind, string(g.Name)), Digest: uploads.Digest(g.Digest)}
	e := entry{
		Seq: g.Seq, Size: g.Size, Received: g.Received, Source: sourceHash(u.Source()), Line: KeyOf(u).Source,
		Name: nameHash(id.Name), File: fileHash(id), Kind: r.spool.kinds.number(kind),
	}
	if len(g.Blob) > 0 {
		e.Flags |= register.Blob
	}
	return e
}

// gaps enters what was acknowledged and is unreadable.
func (r *replayer) gaps() {
	for _, l := range r.verdict.Lost {
		e, f := r.lossEntry(l)
		if _, ok := r.find(e.Seq); !ok {
			r.add(e)
		}
		r.damaged = append(r.damaged, f)
	}
}

// lossEntry stands for a damaged record. If its metadata is sound, so is what
// is known of the upload.
func (r *replayer) lossEntry(l journal.Loss) (entry, found) {
	seg := r.byGeneration[l.Generation]
	if rec := l.Record; rec != nil && rec.Type == journal.TypeUpload && r.glance.Look(rec.Meta, l.First) == nil {
		e := r.entry()
		r.spool.settle(&e, seg, rec.Offset, len(rec.Meta))
		if e.Is(register.Blob) {
			r.blobNames[e.Seq] = string(r.glance.Blob)
		}
		return e, found{seq: e.Seq, loss: l}
	}
	e := entry{Seq: l.First, Kind: r.spool.kinds.number(""), Flags: register.Nameless}
	r.spool.settle(&e, seg, 0, 0)
	return e, found{seq: l.First, through: l.Last, nameless: true, loss: l}
}

// losses returns what was lost, not delivered, and is not in the ledger yet.
func (r *replayer) losses() (lost []found) {
	for _, f := range r.damaged {
		e, _ := r.find(f.seq)
		if f.nameless && !e.Is(register.Nameless) || r.spool.byID[e.Segment].header.Generation != f.loss.Generation ||
			f.loss.Record != nil && int64(e.Block)*journal.Block != f.loss.Record.Offset && !f.nameless {
			continue // a copy of it is sound
		}
		if isHeld(&e) && !r.left[e.Seq] {
			lost = append(lost, f)
		}
	}
	return lost
}

// blobs finds held uploads whose body in a file of its own is gone.
func (r *replayer) blobs() (lost []found) {
	s := r.spool
	for _, seq := range slices.Sorted(maps.Keys(r.blobNames)) {
		ref, e := s.register.Find(seq)
		if e == nil || !isHeld(e) || r.left[seq] || s.hasBlob(r.blobNames[seq], e.Size) {
			continue
		}
		if r.tail[seq] { // nobody was told that it is there
			s.register.Remove(ref)
			delete(r.tail, seq)
			continue
		}
		lost = append(lost, found{seq: seq})
	}
	return lost
}

func (s *Spool) hasBlob(name string, size int64) bool {
	f, err := s.disk.Open(name)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist) // what cannot be read now may be later
	}
	defer f.Close()
	have, err := f.Size()
	return err != nil || have == size
}

// referenced returns the files of bodies that are held.
func (r *replayer) referenced() map[string]bool {
	names := map[string]bool{}
	for seq, name := range r.blobNames {
		if _, e := r.spool.register.Find(seq); e != nil && isHeld(e) {
			names[name] = true
		}
	}
	return names
}

// cut takes note of a recorded cut.
func (r *replayer) cut(rec journal.Record, tail bool) {
	c, err := journal.DecodeCut(rec.Meta)
	if err != nil {
		return
	}
	if tail {
		r.spool.cuts = append(r.spool.cuts, c)
		return
	}
	seg := r.byGeneration[rec.Generation]
	seg.cuts = append(seg.cuts, c)
}

// cuts makes the new ones.
func (r *replayer) cuts() {
	s := r.spool
	for _, c := range r.verdict.Cuts {
		s.cuts = append(s.cuts, c)
		seg := r.byGeneration[c.Generation]
		s.recovery.Cuts = append(s.recovery.Cuts, Cut{Segment: seg.name, Generation: c.Generation, First: c.First})
	}
	for _, c := range slices.Concat(s.cuts, r.verdict.Known) {
		if seg := r.byGeneration[c.Generation]; seg != nil {
			seg.broken = true
		}
	}
}

// enter holds what has not left. Segments become large enough for every record
// that may have to be copied: they may have been larger when it was written, since
// their size is configured, and depends on the free disk.
func (r *replayer) enter() {
	s := r.spool
	for _, e := range s.register.From(0) {
		if !isHeld(e) {
			continue
		}
		s.hold(e)
		if !e.Is(register.Blob) && !e.Is(register.Nameless) {
			s.o.SegmentBytes = max(s.o.SegmentBytes, journal.CopyCapacity(cutRoom, int64(e.Meta), e.Size))
		}
	}
}
