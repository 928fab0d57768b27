package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/receipts"
)

// upkeep is what is done behind the uploads, by one goroutine that runs while
// there is something to do and that Close waits for.
type upkeep struct {
	running bool
	wanted  bool
	opening bool     // nothing is done before the replay is through
	blobs   []string // of files that left
	spares  int      // wanted
	making  int      // being filled
}

// kick starts the upkeep. s.mu is held.
func (s *Spool) kick() {
	if s.closed || s.upkeep.opening {
		return
	}
	s.upkeep.wanted = true
	if s.upkeep.running {
		s.idle.Broadcast()
		return
	}
	s.upkeep.running = true
	go s.keepUp()
}

func (s *Spool) keepUp() {
	for {
		s.mu.Lock()
		if !s.upkeep.wanted || s.closed {
			s.upkeep.running = false
			s.idle.Broadcast()
			s.mu.Unlock()
			return
		}
		s.upkeep.wanted = false
		s.mu.Unlock()
		s.tidy()
	}
}

// tidy goes once through everything that may have to be done. What fails is
// tried again when there is next a reason to look.
func (s *Spool) tidy() {
	s.tidyNow()
	s.stock()
}

// tidyNow is the part that does not wait for uploads to pause: it is what gives
// them room.
func (s *Spool) tidyNow() {
	s.removeBlobs()
	s.freeSegments()
	s.sealSegments()
	s.compact()
}

func (s *Spool) removeBlobs() {
	s.mu.Lock()
	names := s.upkeep.blobs
	s.upkeep.blobs = nil
	s.mu.Unlock()
	for _, name := range names {
		if err := s.disk.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("body not removed", "file", name, "err", err)
		}
	}
}

// pick returns the segments that are not written to any longer and fit.
func (s *Spool) pick(fits func(*segment) bool) (out []*segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seg := range s.segments {
		if seg != s.active && seg.full && seg.syncing == 0 && fits(seg) {
			out = append(out, seg)
		}
	}
	return out
}

func (s *Spool) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// freeSegments frees, oldest first, what holds nothing any longer.
func (s *Spool) freeSegments() {
	for _, seg := range s.pick(func(seg *segment) bool { return seg.live == 0 && seg.readers == 0 }) {
		if s.isClosed() {
			return
		}
		if err := s.freeSegment(seg); err != nil {
			s.log.Error("segment not freed", "segment", seg.name, "err", err)
		}
	}
}

// freeSegment empties a segment in the order that a crash at any instant is
// harmless in: receipts, then marks and cuts that others still need, then the
// new generation. Only then does it count as gone.
func (s *Spool) freeSegment(seg *segment) error {
	leaving, marks, cuts, ok := s.contents(seg)
	if !ok {
		return nil // an older segment has to go first
	}
	if !seg.emptied {
		if err := s.archive.Append(receiptsFor(leaving)); err != nil {
			return err
		}
		if err := s.copyMarks(marks); err != nil {
			return fmt.Errorf("copy marks: %w", err)
		}
		for _, c := range cuts {
			if err := s.append(cutItem(c)); err != nil {
				return fmt.Errorf("copy cut: %w", err)
			}
		}
		seg.emptied = true
	}
	free, err := s.retire(seg)
	if err != nil {
		return err
	}
	s.forget(seg, leaving)
	s.recycle(free)
	return nil
}

// A markOf is a mark with its entry.
type markOf struct {
	e *entry
	m *journal.Mark
}

// contents tells what leaves with a segment, and what in it others need.
func (s *Spool) contents(seg *segment) (leaving []*entry, marks []markOf, cuts []journal.Cut, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range seg.entries {
		if e.seg != seg {
			continue
		}
		// The other record of a copied upload would come to life again.
		if slices.ContainsFunc(e.stale, func(o *segment) bool { return slices.Contains(s.segments, o) }) {
			return nil, nil, nil, false
		}
		leaving = append(leaving, e)
	}
	for _, e := range seg.marked {
		if e.seg == seg || s.entries[e.Seq] != e {
			continue
		}
		for _, m := range e.marks {
			if m.seg == seg {
				marks = append(marks, markOf{e, m.Mark})
			}
		}
	}
	for _, c := range seg.cuts {
		if slices.ContainsFunc(s.segments, func(o *segment) bool { return o != seg && o.header.Generation == c.Generation }) {
			cuts = append(cuts, c)
		}
	}
	return leaving, marks, cuts, true
}

// receiptsFor makes receipts of the entries. A run that was cut short may have
// written some of them; they are written again, since what can be read of
// those need not be on the disk.
func receiptsFor(entries []*entry) []*receipts.Entry {
	out := make([]*receipts.Entry, len(entries))
	for i, e := range entries {
		out[i] = &receipts.Entry{Upload: e.Upload}
		for _, m := range e.marks {
			out[i].Marks = append(out[i].Marks, m.Mark)
		}
	}
	return out
}

func cutItem(c journal.Cut) *item {
	it := newItem(journal.TypeCut, 1, journal.AppendCut(nil, c))
	it.durable = func(seg *segment, _ journal.Record) []Event {
		seg.cuts = append(seg.cuts, c)
		return nil
	}
	return it
}

// copyMarks records marks again, under the numbers they had.
func (s *Spool) copyMarks(marks []markOf) error {
	for part := range slices.Chunk(marks, marksPerRecord) {
		var list []*journal.Mark
		for _, p := range part {
			list = append(list, p.m)
		}
		it := newItem(journal.TypeMarks, 1, appendMarks(list))
		it.durable = func(seg *segment, _ journal.Record) []Event {
			for _, p := range part {
				s.moveMark(p, seg)
			}
			return nil
		}
		if err := s.append(it); err != nil {
			return err
		}
	}
	return nil
}

func (s *Spool) moveMark(p markOf, seg *segment) {
	for i := range p.e.marks {
		if p.e.marks[i].Event == p.m.Event {
			p.e.marks[i].seg = seg
			seg.marked = append(seg.marked, p.e)
			return
		}
	}
	s.apply(p.e, p.m, seg)
}

// forget drops entries whose receipts the archive has.
func (s *Spool) forget(seg *segment, leaving []*entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range leaving {
		delete(s.entries, e.Seq)
		if s.files[e.file] == e {
			delete(s.files, e.file)
		}
		s.unlink(e)
	}
	s.segments = slices.DeleteFunc(s.segments, func(o *segment) bool { return o == seg })
	s.counters.freed++
}

// unlink takes e out of the chain of its name.
func (s *Spool) unlink(e *entry) {
	if e.nameless {
		return
	}
	head := s.names[e.file.Name]
	if head == e {
		if s.names[e.file.Name] = e.older; e.older == nil {
			delete(s.names, e.file.Name)
		}
		return
	}
	for ; head != nil; head = head.older {
		if head.older == e {
			head.older = e.older
			return
		}
	}
}

// retire gives an emptied segment a new generation and returns it as it then
// is, or removes it and returns nil.
func (s *Spool) retire(seg *segment) (free *segment, err error) {
	if s.reusable(seg) {
		if free, err = seg.release(); err == nil {
			return free, nil
		}
		seg.broken = true
		s.log.Error("segment not recycled", "segment", seg.name, "err", err)
	}
	return nil, s.removeSegment(seg)
}

func (s *Spool) reusable(seg *segment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.o.Recycle && !seg.broken && !seg.gone && seg.header.Capacity == s.o.SegmentBytes &&
		len(s.spares)+len(s.surplus)+s.upkeep.making < s.upkeep.spares
}

// recycle makes a freed segment a spare, or one that stock makes a spare.
func (s *Spool) recycle(free *segment) {
	if free == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if free.size < free.header.Capacity {
		s.surplus = append(s.surplus, free)
		s.upkeep.wanted = true
		return
	}
	s.spares = append(s.spares, free)
	s.idle.Broadcast()
}

// removeSegment removes a segment's file, durably: until then a power cut would
// bring it back. It may be tried again.
func (s *Spool) removeSegment(seg *segment) error {
	if !seg.gone {
		seg.file.Close() // it has been synced, or is not trusted anyway
		seg.gone = true
	}
	err := s.disk.Remove(seg.name)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = s.disk.SyncDir(segmentDir)
	}
	if err != nil {
		return fmt.Errorf("remove segment: %w", err)
	}
	return nil
}

// sealSegments gives full segments their index. A segment that was not closed
// in order, or is damaged, is read whole at the next open instead.
func (s *Spool) sealSegments() {
	for _, seg := range s.pick(func(seg *segment) bool { return !seg.sealed && !seg.broken }) {
		if s.isClosed() {
			return
		}
		if err := s.seal(seg); err != nil {
			s.log.Error("segment not sealed", "segment", seg.name, "err", err)
			s.mu.Lock()
			seg.broken = true
			s.mu.Unlock()
		}
	}
}

func (s *Spool) seal(seg *segment) error {
	records := journal.Scan(seg.file, seg.header, seg.tail)
	want := seg.header.Base
	for _, r := range records {
		if !r.Intact || r.Seq != want {
			return fmt.Errorf("record %d is damaged", want)
		}
		want = r.Last() + 1
	}
	at := journal.AlignPage(seg.tail)
	index, footer := journal.Seal(seg.header, records, at)
	size, err := seg.file.Size()
	if err != nil {
		return err
	}
	end := max(at+journal.AlignPage(int64(len(index)))+journal.Page, journal.AlignPage(size))
	if _, err := seg.file.WriteAt(index, at); err != nil {
		return err
	}
	if _, err := seg.file.WriteAt(footer, end-journal.Page); err != nil {
		return err
	}
	if err := seg.file.Sync(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.sealed, seg.size = true, end
	s.counters.sealed++
	return nil
}

const (
	// A segment is compacted when less than one part in compactShare of it is held.
	// A larger number leaves more disk to dead records, a smaller one copies more.
	compactShare = 8
	// compactBehind is how many newer segments there must be: what is recent is
	// likely to be delivered soon.
	compactBehind = 2
)

// compact copies what keeps old segments from being freed.
func (s *Spool) compact() {
	s.mu.Lock()
	var old []*segment
	if n := len(s.segments) - compactBehind - 1; n > 0 {
		old = slices.Clone(s.segments[:n])
	}
	s.mu.Unlock()
	for _, seg := range s.pick(func(seg *segment) bool {
		return slices.Contains(old, seg) && seg.live > 0 && seg.liveBytes <= seg.header.Capacity/compactShare
	}) {
		if err := s.compactSegment(seg); err != nil {
			s.log.Error("segment not compacted", "segment", seg.name, "err", err)
			return
		}
	}
}

func (s *Spool) compactSegment(seg *segment) error {
	s.mu.Lock()
	entries := slices.DeleteFunc(slices.Clone(seg.entries), func(e *entry) bool { return e.left || e.seg != seg })
	s.mu.Unlock()
	for _, e := range entries {
		p := s.pin(e.Seq)
		if p == nil {
			continue // it left
		}
		err := s.copyUpload(e)
		s.unpin(p)
		if err != nil {
			return err
		}
	}
	return nil
}

// copyUpload writes an upload's record again, under its own number.
func (s *Spool) copyUpload(e *entry) error {
	meta := journal.AppendUpload(nil, &e.Upload, true)
	it := newItem(journal.TypeUpload, 1, meta)
	if e.Blob == "" {
		body, err := readRecord(e.seg.file, e.rec, e.length())
		var damage *damageError
		if errors.As(err, &damage) {
			return s.lose([]uint64{e.Seq}, LossDamaged, err.Error())
		}
		if err != nil {
			return err
		}
		it.buf = append(it.buf, body...)
		it.rec.Meta = it.buf[journal.RecordHeader:][:len(meta)]
		it.rec.BodyLen = int64(len(body))
	}
	it.durable = func(seg *segment, r journal.Record) []Event {
		s.moved(e, seg, r)
		return nil
	}
	return s.append(it)
}

// moved makes a copy the upload's record. One that left while it was copied
// moves too: its marks are kept as long as any record of it.
func (s *Spool) moved(e *entry, seg *segment, r journal.Record) {
	old := e.seg
	if !e.left {
		old.live--
		old.liveBytes -= e.rec.Len()
	}
	e.stale = append(e.stale, old)
	e.settle(seg, r)
	seg.entries = append(seg.entries, e)
	if !e.left {
		seg.live++
		seg.liveBytes += r.Len()
	}
	if old.live == 0 {
		s.kick()
	}
}

// pace waits until no upload waits for the disk. What cannot wait as long is
// done meanwhile.
func (s *Spool) pace() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed {
		if s.upkeep.wanted {
			s.upkeep.wanted = false
			s.mu.Unlock()
			s.tidyNow()
			s.mu.Lock()
			continue
		}
		if s.appending == 0 {
			return nil
		}
		s.idle.Wait()
	}
	return uploads.ErrClosed
}

// stock makes spares, and removes what is too much.
func (s *Spool) stock() {
	for s.pace() == nil {
		seg, number, missing := s.nextSpare()
		if seg == nil && !missing {
			return
		}
		seg, err := s.makeSpare(seg, number, missing)
		s.mu.Lock()
		s.upkeep.making = 0
		if seg != nil && err == nil {
			s.spares = append(s.spares, seg)
			s.idle.Broadcast()
		}
		s.mu.Unlock()
		if err != nil {
			if !errors.Is(err, uploads.ErrClosed) {
				s.log.Warn("no spare segment made", "err", err)
			}
			return
		}
	}
}

// nextSpare tells what to make a spare of: a free segment, or a file of that
// number; or what to remove, if none is missing.
func (s *Spool) nextSpare() (seg *segment, number uint64, missing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	missing = s.upkeep.spares > len(s.spares)
	if missing {
		s.upkeep.making = 1
		seg = s.takeSurplus()
	}
	if seg == nil && len(s.surplus) > 0 {
		seg, missing = s.surplus[0], false
		s.surplus = s.surplus[1:]
	}
	if seg == nil && missing {
		number = s.nextFile
		s.nextFile++
	}
	return seg, number, missing
}

func (s *Spool) makeSpare(seg *segment, number uint64, missing bool) (*segment, error) {
	if seg == nil {
		return makeSegment(s.disk, number, s.o.SegmentBytes, true, s.pace)
	}
	if !missing {
		return nil, s.removeSegment(seg)
	}
	err := seg.fill(s.pace)
	if errors.Is(err, uploads.ErrClosed) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.surplus = append(s.surplus, seg) // the next open fills it
		return nil, err
	}
	if err != nil {
		return nil, errors.Join(err, s.removeSegment(seg))
	}
	return seg, nil
}

// Ready waits until n segments are spare, and keeps as many from now on. It is
// for benchmarks and tests; serving never waits for it.
func (s *Spool) Ready(ctx context.Context, n int) error {
	if n > 0 && !s.o.Recycle {
		return errors.New("spares: segments are not recycled")
	}
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.idle.Broadcast()
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.upkeep.spares = max(s.upkeep.spares, n)
	s.kick()
	for len(s.spares) < n {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s.closed {
			return uploads.ErrClosed
		}
		s.idle.Wait()
	}
	return nil
}

// settle ends the opening: leftovers of ours are swept, unless something is
// missing whose body they might be, and the upkeep may begin.
func (s *Spool) settle(incomplete bool) {
	s.recovery.Segments = len(s.segments)
	if !incomplete {
		s.sweep(blobDir, blobSuffix, s.referenced())
	}
	s.sweep(blobDir, tempSuffix, nil)
	s.sweep(segmentDir, tempSuffix, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.upkeep.spares = s.o.Spares
	free := s.spares
	s.spares = nil
	for _, seg := range free {
		if s.o.Recycle && seg.header.Capacity == s.o.SegmentBytes && seg.size >= seg.header.Capacity && len(s.spares) < s.o.Spares {
			s.spares = append(s.spares, seg)
		} else {
			s.surplus = append(s.surplus, seg)
		}
	}
	s.recovery.Spares = len(s.spares)
	s.upkeep.opening = false
	s.kick()
}

func (s *Spool) referenced() map[string]bool {
	names := map[string]bool{}
	for _, e := range s.entries {
		if e.Blob != "" && !e.left {
			names[e.Blob] = true
		}
	}
	return names
}

// sweep removes files of ours that nothing refers to.
func (s *Spool) sweep(dir, suffix string, keep map[string]bool) {
	ents, err := s.disk.ReadDir(dir)
	if err != nil {
		s.log.Warn("directory not swept", "dir", dir, "err", err)
		return
	}
	for _, ent := range ents {
		name := path.Join(dir, ent.Name())
		if !isOurs(dir, ent.Name(), suffix) || keep[name] {
			continue
		}
		if err := s.disk.Remove(name); err != nil {
			s.log.Warn("leftover not removed", "file", name, "err", err)
			continue
		}
		s.recovery.Orphans++
	}
}

func isOurs(dir, base, suffix string) bool {
	if dir == blobDir {
		return isBlobName(base, suffix)
	}
	_, ok := segmentNumber(base, suffix)
	return ok
}
