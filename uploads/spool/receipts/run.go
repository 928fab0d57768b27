package receipts

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"sync"
	"time"

	"inventorybeacon/uploads/spool/disk"
)

// A run is a file of receipts in the order of name, digest and number, which
// does not change.
type run struct {
	span
	footer
	source
	guide   guide
	heads   heads
	ages    ages
	losses  lossList
	rebuilt bool      // what it says of itself was unreadable
	retry   time.Time // a merge of it failed; of the upkeep

	log *slog.Logger
	mu  sync.Mutex
	bad map[int]bool // blocks that turned out to be damaged
}

// openRun reads what is kept in memory. A run of which nothing can be read
// gives errDamaged, what a newer version wrote ErrNewer.
func openRun(d disk.Disk, dir string, s span, log *slog.Logger) (*run, error) {
	name := dir + "/" + s.runName()
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	r := &run{span: s, source: source{disk: d, name: name, file: f}, log: log, bad: map[int]bool{}}
	if err := r.load(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

func (r *run) load() error {
	size, err := r.file.Size()
	if err != nil {
		return err
	}
	if size < runHeader+footerBytes {
		return errDamaged
	}
	head := make([]byte, runHeader)
	if err := readFull(r.file, head, 0); err != nil {
		return err
	}
	if err := checkRunHeader(head); err != nil {
		return err
	}
	err = r.loadSections(size)
	if errors.Is(err, errDamaged) {
		return r.rebuild(size)
	}
	return err
}

func (r *run) loadSections(size int64) error {
	foot := make([]byte, footerBytes)
	if err := readFull(r.file, foot, size-footerBytes); err != nil {
		return err
	}
	if err := r.footer.read(foot); err != nil {
		return err
	}
	if int64(r.GuideAt)+int64(r.sections()) != size-footerBytes {
		return errDamaged
	}
	b := make([]byte, r.sections())
	if err := readFull(r.file, b, int64(r.GuideAt)); err != nil {
		return err
	}
	if crc32.Checksum(b, castagnoli) != r.GuideSum {
		return errDamaged
	}
	r.parse(b, io.NewSectionReader(r.file, int64(r.LossAt), int64(r.GuideAt-r.LossAt)))
	return nil
}

func (r *run) parse(sections []byte, losses io.ReaderAt) {
	var rest []byte
	r.guide, rest = parseGuide(sections, int(r.Entries))
	n := int(r.Heads) * headBytes
	r.heads, r.ages = rest[:n:n], parseAges(rest[n:])
	r.losses = lossList{losses, lossPages(r.Losses)}
}

func readFull(f io.ReaderAt, b []byte, at int64) error {
	if n, err := f.ReadAt(b, at); n < len(b) {
		return fmt.Errorf("read %d bytes at %d: %w", len(b), at, err)
	}
	return nil
}

// rebuild finds out from the blocks what the run should have said of itself.
// The places of receipts in blocks that are damaged are taken by ones that
// nobody looks for.
func (r *run) rebuild(size int64) error {
	s := newSummary()
	sc := r.scanBlocks(size)
	end := int64(runHeader)
	var last FileID
	for {
		b, records, at, err := sc.block()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		for len(s.guide.starts)/4 < int(b.number()) {
			s.fill(last, end)
		}
		s.guide.addBlock(at)
		for i := range records {
			if e, err := records[i].entry(); err == nil {
				k := keyedOf(e)
				last = k.id
				s.add(k)
			} else {
				s.skip(last)
			}
		}
		end = at + alignUnit(int64(len(b)))
	}
	if s.Entries == 0 {
		return errDamaged
	}
	s.Damaged = uint64(sc.missing(0))
	tail := s.append(nil, end, end)
	r.footer, r.rebuilt = s.footer, true
	pages := lossPages(s.Losses) * lossPage
	r.parse(tail[pages:len(tail)-footerBytes], bytes.NewReader(tail[:pages]))
	return nil
}

// fill stands for a block that is missing.
func (s *summary) fill(id FileID, at int64) {
	s.guide.addBlock(at)
	for range blockEntries {
		s.skip(id)
	}
}

func (s *summary) skip(id FileID) {
	s.Entries++
	s.guide.add(id)
	s.heads.add(id.Name, 0, true)
}

func (r *run) scanBlocks(end int64) *scanner {
	return &scanner{r: r.file, at: runHeader, end: end}
}

// scan goes through the run's blocks.
func (r *run) scan() *scanner { return r.scanBlocks(int64(r.guide.start(r.guide.blocks()))) }

// records reads a block.
func (r *run) records(n int) ([]record, error) {
	from, to := r.guide.span(n)
	if from == to { // it was missing when the run was opened
		return nil, fmt.Errorf("receipts %s, block %d: %w", r.name, n, errDamaged)
	}
	b := make([]byte, to-from)
	if err := readFull(r.file, b, from); err != nil {
		return nil, fmt.Errorf("receipts: %w", err)
	}
	sound, ok := block(b).sound()
	if !ok || sound.number() != uint32(n) {
		return nil, r.spoilt(n, errDamaged)
	}
	records, err := sound.records()
	if err != nil {
		return nil, r.spoilt(n, err)
	}
	return records, nil
}

// spoilt remembers a damaged block.
func (r *run) spoilt(n int, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.bad[n] {
		r.log.Error("receipts damaged", "file", r.name, "block", n, "err", err)
	}
	r.bad[n] = true
	return fmt.Errorf("receipts %s, block %d: %w", r.name, n, errDamaged)
}

// damaged is how many blocks are known to be lost.
func (r *run) damaged() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int(r.Damaged) + len(r.bad)
}

// at reads the receipt at a place.
func (r *run) at(place uint32) (*Entry, error) {
	e, err := (&cursor{run: r}).at(int(place))
	return e.Entry, err
}
