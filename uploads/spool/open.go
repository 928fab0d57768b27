package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"inventorybeacon/uploads/spool/disk"
	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/receipts"
)

const (
	versionFile = "version"
	// layoutVersion is that of the directory: which files it has and what they mean
	// together. Each file has a version of its own besides.
	layoutVersion = 1

	receiptsDir  = "receipts"
	receiptsFile = receiptsDir + "/receipts.log"

	defaultSegment = 64 << 20
	// diskShare of the free disk is the most that one segment takes, so that the
	// spares leave most of it to uploads.
	diskShare     = 32
	defaultSpares = 4
)

// open looks at everything before it changes anything.
func (s *Spool) open() error {
	isNew, err := s.checkVersion()
	if err != nil {
		return err
	}
	if err := s.defaults(); err != nil {
		return err
	}
	log, err := receipts.Open(s.disk, receiptsFile)
	if err != nil {
		return err
	}
	s.archive = log
	s.recovery.Receipts, s.recovery.DamagedReceipts = log.Len(), log.Damaged()
	found, err := s.findSegments()
	if err != nil {
		return err
	}
	s.findStrangers()
	if isNew {
		if err := s.makeLayout(); err != nil {
			return err
		}
	}
	return s.replay(found)
}

func (s *Spool) defaults() error {
	if s.o.SegmentBytes == 0 {
		free, err := s.disk.Free()
		if err != nil {
			return fmt.Errorf("find free space: %w", err)
		}
		s.o.SegmentBytes = min(defaultSegment, free/diskShare)
	}
	s.o.SegmentBytes = max(journal.AlignPage(s.o.SegmentBytes), journal.MinCapacity)
	s.inline = min(maxInline, s.o.SegmentBytes/4)
	if s.o.MemoryBudget == 0 {
		s.o.MemoryBudget = defaultBudget
	}
	s.budget = newBudget(s.o.MemoryBudget)
	switch {
	case !s.o.Recycle || s.o.Spares < 0:
		s.o.Spares = 0
	case s.o.Spares == 0:
		s.o.Spares = defaultSpares
	}
	return nil
}

func (s *Spool) checkVersion() (isNew bool, err error) {
	b, err := readFile(s.disk, versionFile)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read version: %w", err)
	}
	v, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return false, fmt.Errorf("read version: %w", err)
	}
	if v > layoutVersion {
		return false, fmt.Errorf("%w: layout %d, known is %d", journal.ErrNewer, v, layoutVersion)
	}
	return false, nil
}

func (s *Spool) makeLayout() error {
	for _, dir := range []string{segmentDir, blobDir, receiptsDir} {
		if err := s.disk.Mkdir(dir); err != nil {
			return err
		}
	}
	return writeFile(s.disk, versionFile, fmt.Appendf(nil, "%d\n", layoutVersion))
}

func readFile(d disk.Disk, name string) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if n == len(b) {
		err = nil
	}
	return b[:n], err
}

// writeFile creates a small file durably.
func writeFile(d disk.Disk, name string, b []byte) error {
	temp := name + tempSuffix
	if err := d.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := d.Create(temp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = d.Rename(temp, name)
	}
	if err != nil {
		return err
	}
	return d.SyncDir(path.Dir(name))
}

// findSegments opens the segment files, leaving alone what is none.
func (s *Spool) findSegments() (found []*segment, err error) {
	ents, err := s.disk.ReadDir(segmentDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	for _, ent := range ents {
		name := path.Join(segmentDir, ent.Name())
		if n, ok := segmentNumber(ent.Name(), tempSuffix); ok {
			s.nextFile = max(s.nextFile, n+1)
			continue // unfinished; swept after the replay
		}
		n, ok := segmentNumber(ent.Name(), segmentSuffix)
		if !ok {
			s.unknown(name, nil)
			continue
		}
		s.nextFile = max(s.nextFile, n+1)
		seg, err := openSegment(s.disk, name)
		switch {
		case errors.Is(err, journal.ErrForeign):
			s.unknown(name, err)
		case err != nil:
			return nil, fmt.Errorf("%s: %w", name, err)
		default:
			found = append(found, seg)
			s.segments = append(s.segments, seg) // so that it is closed
		}
	}
	return found, nil
}

// findStrangers reports files that are none of ours outside of segments/.
func (s *Spool) findStrangers() {
	known := map[string]func(base string) bool{
		".": func(base string) bool {
			return slices.Contains([]string{"lock", versionFile, versionFile + tempSuffix, segmentDir, blobDir, receiptsDir}, base)
		},
		receiptsDir: func(base string) bool { return receiptsDir+"/"+base == receiptsFile },
		blobDir:     func(base string) bool { return isBlobName(base, blobSuffix) || isBlobName(base, tempSuffix) },
	}
	for _, dir := range slices.Sorted(maps.Keys(known)) {
		ents, err := s.disk.ReadDir(dir)
		if err != nil {
			continue // not there yet
		}
		for _, ent := range ents {
			if !known[dir](ent.Name()) {
				s.unknown(path.Join(dir, ent.Name()), nil)
			}
		}
	}
}

func (s *Spool) unknown(name string, err error) {
	s.recovery.Unknown = append(s.recovery.Unknown, name)
	s.log.Error("unknown file in the spool, left alone", "file", name, "err", err)
}

func openSegment(d disk.Disk, name string) (*segment, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	seg := &segment{name: name, file: f}
	if err := seg.readHeader(); err != nil {
		f.Close()
		return nil, err
	}
	return seg, nil
}

func (s *segment) readHeader() (err error) {
	if s.size, err = s.file.Size(); err != nil {
		return err
	}
	b := make([]byte, journal.Start)
	n, err := s.file.ReadAt(b, 0)
	if n < len(b) && s.size >= int64(len(b)) {
		return err
	}
	// A torn header is written whole when the segment is next activated or freed.
	s.header, _, err = journal.DecodeHeader(b[:n])
	return err
}

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
	tail         map[uint64]bool   // uploads whose only record is in a tail
	marks        []markAt          // of tails
	got          map[uint64]uint32 // what the marks of tails add
	left         map[uint64]bool
}

func (r *replayer) run() error {
	s, v := r.spool, &r.verdict
	s.mark = v.Mark
	s.next = max(v.Next, s.archive.Last()+1, 1)
	s.recovery.Clean, s.recovery.Records = v.Clean, len(v.Kept)+len(v.Tail)
	r.entries, r.tail = map[uint64]*entry{}, map[uint64]bool{}
	r.got, r.left = map[uint64]uint32{}, map[uint64]bool{}
	s.replaying = true
	for _, rec := range v.Kept {
		r.upload(rec, false)
	}
	for _, rec := range v.Tail {
		r.upload(rec, true)
	}
	for _, rec := range v.Kept {
		r.note(rec, false)
	}
	for _, rec := range v.Tail {
		r.note(rec, true)
	}
	r.cuts()
	lost := r.losses()
	lost = append(lost, r.blobs()...)
	r.enter()
	s.sortSegments()
	if v.Clean {
		r.resume()
	}
	if err := r.write(lost); err != nil {
		return err
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

// note applies a record of marks.
func (r *replayer) note(rec journal.Record, tail bool) {
	if rec.Type != journal.TypeMarks {
		return
	}
	marks, err := journal.DecodeMarks(rec.Meta, rec.Seq)
	if err != nil {
		r.spool.log.Error("record makes no sense", "seq", rec.Seq, "err", err)
		return
	}
	seg := r.byGeneration[rec.Generation]
	for _, m := range marks {
		e := r.entries[m.Seq]
		if e == nil {
			e = r.damagedEntry(m)
		}
		if e == nil || e.has(m) {
			continue
		}
		r.spool.next = max(r.spool.next, m.Event+1)
		if tail {
			r.noteTail(e, m, seg)
			continue
		}
		r.applyOld(e, m, seg)
	}
}

// noteTail keeps a mark for being copied. It may have been acknowledged, and
// the body removed.
func (r *replayer) noteTail(e *entry, m *journal.Mark, seg *segment) {
	r.marks = append(r.marks, markAt{m, seg})
	if k := r.spool.sink(m.Sink); k != nil {
		r.got[e.Seq] |= k.bit
	}
	need := r.spool.needed(e.Kind)
	if m.Lost() || m.Left || need != 0 && (e.got|r.got[e.Seq])&need == need {
		r.left[e.Seq] = true
	}
}

// has tells whether e knows the mark already: marks are copied, too.
func (e *entry) has(m *journal.Mark) bool {
	return slices.ContainsFunc(e.marks, func(o markAt) bool { return o.Event == m.Event })
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
func (r *replayer) applyOld(e *entry, m *journal.Mark, seg *segment) {
	e.marks = append(e.marks, markAt{m, seg})
	seg.marked = append(seg.marked, e)
	if k := r.spool.sink(m.Sink); k != nil {
		e.got |= k.bit
	}
	need := r.spool.needed(e.Kind)
	e.lost = e.lost || m.Lost()
	e.left = e.left || m.Lost() || m.Left || need != 0 && e.got&need == need
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

// resume goes on writing behind a clean end.
func (r *replayer) resume() {
	s := r.spool
	if len(s.segments) == 0 || len(s.cuts) > 0 {
		return
	}
	seg := s.segments[len(s.segments)-1]
	if seg.sealed || seg.broken {
		return
	}
	for _, l := range r.verdict.Lost {
		if l.Generation == seg.header.Generation {
			return // its index would have to leave out a place that is in use
		}
	}
	// The last run may have died between writing its end and syncing it.
	if err := seg.file.Sync(); err != nil {
		s.log.Error("journal segment failed", "segment", seg.name, "err", err)
		seg.broken = true
		s.cuts = append(s.cuts, journal.Cut{Generation: seg.header.Generation, First: r.verdict.Mark + 1})
		return
	}
	seg.full = false
	s.active, s.mark = seg, s.next-1
}

// write records what the replay decided. The copies of tails are durable
// before the cuts that take their originals out of the journal, since a tail
// may hold what was acknowledged last; and until the cuts are durable, too, no
// record says that the numbers in them are.
func (r *replayer) write(lost []*entry) error {
	s := r.spool
	if err := r.copyTails(); err != nil {
		return err
	}
	if len(s.cuts) > 0 {
		s.mu.Lock()
		err := s.recordCuts()
		s.mu.Unlock()
		if err == nil {
			err = s.sync()
		}
		if err != nil {
			return fmt.Errorf("record cut: %w", err)
		}
	}
	s.mu.Lock()
	s.mark, s.replaying = s.next-1, false
	s.mu.Unlock()
	return r.writeLosses(lost)
}

func (r *replayer) copyTails() error {
	s := r.spool
	if len(s.cuts) == 0 {
		return nil
	}
	s.mu.Lock()
	err := s.turn()
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("begin segment: %w", err)
	}
	for _, seq := range slices.Sorted(maps.Keys(r.tail)) {
		if e := r.entries[seq]; e != nil {
			if err := s.copyUpload(e); err != nil {
				return err
			}
		}
	}
	var marks []markOf
	for _, m := range r.marks {
		if e := r.entries[m.Seq]; e != nil {
			marks = append(marks, markOf{e, m.Mark})
		}
	}
	return s.copyMarks(marks)
}

func (r *replayer) writeLosses(lost []*entry) error {
	s := r.spool
	for _, e := range lost {
		m := &journal.Mark{Seq: e.Seq, At: now(), Reason: LossDamaged, Detail: "the disk did not keep it", Left: true}
		if e.nameless {
			m.Through = e.Seq + uint64(e.rec.Count) - 1
			m.Detail = fmt.Sprintf("records %d to %d are unreadable", m.Seq, m.Through)
		}
		if err := s.note([]*journal.Mark{m}); err != nil {
			return err
		}
		s.recovery.Lost = append(s.recovery.Lost, eventOf(&e.Upload, m, true))
		s.log.Error("acknowledged upload lost", "seq", e.Seq, "name", e.Name.String(), "sha256", e.Digest.String(), "detail", m.Detail)
	}
	s.recovery.Pending = s.held.count
	return nil
}

// sync waits until everything written so far is durable.
func (s *Spool) sync() error {
	s.mu.Lock()
	g := s.group
	s.mu.Unlock()
	if g == nil {
		return nil
	}
	return s.await(g)
}

func (s *Spool) sortSegments() {
	slices.SortFunc(s.segments, func(a, b *segment) int {
		return cmp.Compare(a.header.Base, b.header.Base)
	})
	if n := len(s.segments); n > 0 {
		s.lastGeneration = s.segments[n-1].header.Generation
	}
}
