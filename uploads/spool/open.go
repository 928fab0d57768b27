package spool

import (
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
	// together. Each file has a version of its own besides. 2 has unfinished/.
	layoutVersion = 2

	// UnfinishedDir is where files lie that [Spool.Adopt] may take. The spool does
	// not look into it.
	UnfinishedDir = "unfinished"

	receiptsDir = "receipts"

	defaultSegment = 64 << 20
	// diskShare of the free disk is the most that one segment takes, so that the
	// spares leave most of it to uploads.
	diskShare     = 32
	defaultSpares = 4
)

// open looks at everything before it changes anything.
func (s *Spool) open() error {
	version, err := s.checkVersion()
	if err != nil {
		return err
	}
	if err := s.defaults(); err != nil {
		return err
	}
	log, err := receipts.Open(s.disk, receiptsDir, receipts.Options{Log: s.log})
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
	s.spendIfFull()
	if err := s.makeLayout(version); err != nil {
		return err
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
	if s.o.Horizon <= 0 {
		s.o.Horizon = DefaultHorizon
	}
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

// checkVersion returns the version of the layout found; 0 if there is none.
func (s *Spool) checkVersion() (int, error) {
	b, err := readFile(s.disk, versionFile)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read version: %w", err)
	}
	v, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("read version: %w", err)
	}
	if v > layoutVersion {
		return 0, fmt.Errorf("%w: layout %d, known is %d", journal.ErrNewer, v, layoutVersion)
	}
	return v, nil
}

// makeLayout makes what is missing, and says durably that older programs do
// not know this directory any longer before anything is written that they would
// misread.
func (s *Spool) makeLayout(version int) error {
	for _, dir := range []string{segmentDir, blobDir, receiptsDir} {
		if err := s.disk.Mkdir(dir); err != nil {
			return err
		}
	}
	if version < layoutVersion {
		if err := writeFile(s.disk, versionFile, fmt.Appendf(nil, "%d\n", layoutVersion)); err != nil {
			return err
		}
	}
	// What is here may have been made by a run that was killed before it was durable.
	for _, dir := range []string{".", segmentDir, blobDir, receiptsDir} {
		if err := s.disk.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
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
			return slices.Contains([]string{"lock", versionFile, versionFile + tempSuffix, reserveFile, reserveFile + tempSuffix, segmentDir, blobDir, receiptsDir, UnfinishedDir}, base)
		},
		receiptsDir: receipts.IsOurs,
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
