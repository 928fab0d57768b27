package receipts

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"inventorybeacon/uploads"
)

// A stream yields receipts in the order of a run, then [io.EOF].
type stream interface {
	next() (keyed, error)
	// damaged is how many blocks were found missing.
	damaged() int
}

// errNumbers means that nobody else would know the highest number.
var errNumbers = errors.New("the log that keeps the numbers is not begun")

// run does the job. Until the new run is durable, and once it is, everything is
// found; what it was made of goes when no look-up reads it any longer.
func (j *job) run(a *Archive) error {
	made, err := a.write(j)
	if err != nil {
		return err
	}
	if !made && !a.active().isBegun() {
		return errNumbers
	}
	if len(j.logs) > 0 && j.logs[0].number == 0 { // of version 1
		if err := a.mark(); err != nil {
			return err
		}
	}
	var fresh []*run
	if made {
		r, err := openRun(a.disk, a.dir, j.span, a.log)
		if err != nil {
			return err
		}
		fresh = append(fresh, r)
	}
	a.change(func(old *view) *view { return j.replaced(old, fresh) })
	return nil
}

// replaced is the view in which the job is done. Archive.mu is held.
func (j *job) replaced(old *view, fresh []*run) *view {
	for _, l := range j.logs {
		l.gone = l.number > 0 // else the mark is in its place
	}
	for _, r := range j.runs {
		r.gone = true
	}
	v := &view{logs: old.logs[len(j.logs):], runs: slices.Clone(old.runs)}
	at := len(v.runs)
	if len(j.runs) > 0 {
		at = slices.Index(v.runs, j.runs[0])
	}
	v.runs = slices.Replace(v.runs, at, at+len(j.runs), fresh...)
	return v
}

// write writes the run, unless nothing is left that it would hold.
func (a *Archive) write(j *job) (made bool, err error) {
	w, err := newRunWriter(a.disk, a.path(j.span.runName()))
	if err != nil {
		return false, err
	}
	defer func() {
		if !made {
			w.abandon()
		}
	}()
	streams := j.streams()
	if err := a.merge(w, streams); err != nil {
		return false, err
	}
	damaged := 0
	for _, s := range streams {
		damaged += s.damaged()
	}
	if damaged > 0 {
		a.log.Error("receipts damaged, the others are kept", "run", j.span.runName(), "blocks", damaged)
	}
	w.summary.Damaged = uint64(damaged)
	for _, l := range j.logs {
		w.summary.Last = max(w.summary.Last, l.highest()) // of what is forgotten, too
		w.summary.Damaged += uint64(l.damaged)
	}
	for _, r := range j.runs {
		w.summary.Last = max(w.summary.Last, r.Last)
		if !r.rebuilt { // else what was missing is missing again
			w.summary.Damaged += r.Damaged
		}
	}
	if w.summary.Entries == 0 {
		return false, nil
	}
	return true, w.finish()
}

// streams opens what is to be merged, newest first.
func (j *job) streams() (out []stream) {
	for _, l := range slices.Backward(j.logs) {
		out = append(out, l.sorted())
	}
	for _, r := range slices.Backward(j.runs) {
		out = append(out, &runStream{scanner: r.scan(), blocks: r.guide.blocks()})
	}
	return out
}

// merge writes what the streams hold, without what is to be forgotten and what
// an earlier stream replaces.
func (a *Archive) merge(w *runWriter, streams []stream) error {
	horizon := a.forgetting()
	heads := make([]keyed, len(streams))
	for i, s := range streams {
		if err := advance(&heads[i], s); err != nil {
			return err
		}
	}
	for n := 0; ; n++ {
		if n%blockEntries == 0 && a.isClosed() {
			return uploads.ErrClosed
		}
		first := firstOf(heads)
		if first < 0 {
			return nil
		}
		e := heads[first]
		for i := range heads {
			for heads[i].Entry != nil && heads[i].order(e) == 0 {
				if err := advance(&heads[i], streams[i]); err != nil {
					return err
				}
			}
		}
		if !horizon.IsZero() && e.latest().Before(horizon) {
			continue
		}
		if err := w.add(e); err != nil {
			return fmt.Errorf("write run: %w", err)
		}
	}
}

func advance(head *keyed, s stream) (err error) {
	*head, err = s.next()
	if errors.Is(err, io.EOF) {
		*head, err = keyed{}, nil
	}
	return err
}

// firstOf returns which head comes first; of equal ones that of the earliest
// stream, and -1 if there are none left.
func firstOf(heads []keyed) int {
	first := -1
	for i := range heads {
		if heads[i].Entry != nil && (first < 0 || heads[i].order(heads[first]) < 0) {
			first = i
		}
	}
	return first
}

// order is that of a run.
func (e keyed) order(o keyed) int {
	return cmp.Or(e.id.compare(o.id), cmp.Compare(e.Upload.Seq, o.Upload.Seq))
}

// A runStream reads a run.
type runStream struct {
	*scanner
	blocks  int // that there should be
	records []record
}

func (s *runStream) next() (keyed, error) {
	for {
		for len(s.records) == 0 {
			var err error
			if _, s.records, _, err = s.block(); err != nil {
				return keyed{}, err
			}
		}
		r := s.records[0]
		s.records = s.records[1:]
		if e, err := r.entry(); err == nil {
			return keyedOf(e), nil
		}
	}
}

func (s *runStream) damaged() int { return s.missing(s.blocks) }
