package receipts

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"

	"inventorybeacon/uploads/spool/disk"
)

// A summary collects what stands behind the blocks of a run while its receipts
// go by: 9 bytes of memory for each.
type summary struct {
	footer
	guide  guideWriter
	heads  headFinder
	ages   ages
	losses []loss
}

func newSummary() *summary { return &summary{ages: ages{}} }

// add counts a receipt. events are its losses.
func (s *summary) add(e keyed) {
	s.losses = appendEntryLosses(s.losses, e.Entry, uint32(s.Entries))
	if s.Entries == 0 || e.Upload.Seq < s.First {
		s.First = e.Upload.Seq
	}
	s.Entries++
	s.Last, s.Newest = max(s.Last, e.last()), max(s.Newest, e.Upload.Seq)
	s.guide.add(e.id)
	s.heads.add(e.id.Name, e.Upload.Seq, e.Lost())
	s.ages.add(e.latest().UnixMilli())
}

func appendEntryLosses(out []loss, e *Entry, place uint32) []loss {
	for _, m := range e.Marks {
		if m.Lost() {
			out = append(out, loss{m.Event, place})
		}
	}
	return out
}

// append appends losses, guide, heads, ages and footer to b, which will lie at
// offset at; end is where the blocks end.
func (s *summary) append(b []byte, at, end int64) []byte {
	base := at - int64(len(b))
	s.heads.end()
	for _, l := range s.losses {
		s.LastLoss = max(s.LastLoss, l.event)
	}
	s.LossAt, s.Losses = uint64(at), uint64(len(s.losses))
	b = appendLosses(b, s.losses)
	s.GuideAt = uint64(base + int64(len(b)))
	from := len(b)
	b = s.guide.append(b, end)
	b = append(b, s.heads.heads...)
	b = s.ages.append(b)
	s.Heads, s.Ages = uint32(len(s.heads.heads)/headBytes), uint32(len(s.ages))
	s.GuideSum = crc32.Checksum(b[from:], castagnoli)
	return s.footer.append(b)
}

// A runWriter writes a run under a temporary name.
type runWriter struct {
	disk    disk.Disk
	name    string
	file    disk.File
	b       []byte // not yet written
	at      int64  // where it goes
	pending []record
	summary *summary
}

const (
	tempSuffix = ".tmp"
	// writeBytes is how much is written at once.
	writeBytes = 1 << 20
)

func newRunWriter(d disk.Disk, name string) (*runWriter, error) {
	if err := d.Remove(name + tempSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := d.Create(name + tempSuffix)
	if err != nil {
		return nil, err
	}
	return &runWriter{disk: d, name: name, file: f, b: newRunHeader(), summary: newSummary()}, nil
}

// add adds an entry, which follows those before it in the order of their keys.
func (w *runWriter) add(e keyed) error {
	w.summary.add(e)
	w.pending = append(w.pending, recordOf(e.Entry))
	if len(w.pending) < blockEntries {
		return nil
	}
	return w.addBlock()
}

func (w *runWriter) addBlock() error {
	start := w.at + int64(len(w.b))
	if start/unit > 1<<32-1 {
		return fmt.Errorf("run is full")
	}
	number := uint32(len(w.summary.guide.starts) / 4)
	w.summary.guide.addBlock(start)
	w.b = appendBlock(w.b, number, w.pending)
	w.pending = w.pending[:0]
	if len(w.b) < writeBytes {
		return nil
	}
	return w.write()
}

func (w *runWriter) write() error {
	n, err := w.file.WriteAt(w.b, w.at)
	w.at += int64(n)
	w.b = w.b[:0]
	return err
}

// finish makes the run durable and visible.
func (w *runWriter) finish() error {
	if len(w.pending) > 0 {
		if err := w.addBlock(); err != nil {
			return err
		}
	}
	end := w.at + int64(len(w.b))
	w.b = w.summary.append(w.b, end, end)
	if err := w.write(); err != nil {
		return err
	}
	if err := w.file.Sync(); err != nil {
		return err
	}
	if err := w.file.Close(); err != nil {
		return err
	}
	if err := w.disk.Rename(w.name+tempSuffix, w.name); err != nil {
		return err
	}
	return w.disk.SyncDir(dirOf(w.name))
}

// abandon removes what was written.
func (w *runWriter) abandon() {
	w.file.Close()
	w.disk.Remove(w.name + tempSuffix)
}
