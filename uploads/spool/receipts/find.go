package receipts

import (
	"iter"
	"slices"
)

// Find returns the newest upload of a name that was not lost, or nil.
func (a *Archive) Find(id NameID) (*Entry, error) {
	v := a.look()
	defer a.leave(v)
	var best *Entry
	var failed error
	for f, newest := range v.finders() {
		if best != nil && best.Upload.Seq >= newest {
			continue
		}
		e, err := f.find(id)
		if err != nil {
			failed = err
		} else if e != nil && (best == nil || e.Upload.Seq > best.Upload.Seq) {
			best = e
		}
	}
	if best != nil {
		failed = nil
	}
	return best, failed
}

// FindExact returns the newest upload of certain bytes under a name, lost or
// not, or nil.
func (a *Archive) FindExact(id FileID) (*Entry, error) {
	v := a.look()
	defer a.leave(v)
	var best *Entry
	var failed error
	for f, newest := range v.finders() {
		if best != nil && best.Upload.Seq >= newest {
			continue
		}
		e, err := f.findExact(id)
		switch {
		case err != nil:
			failed = err
		case e != nil && !e.Lost():
			return e, nil // while it was known nothing else was stored
		case e != nil && (best == nil || e.Upload.Seq > best.Upload.Seq):
			best = e
		}
	}
	if best != nil {
		failed = nil
	}
	return best, failed
}

// A finder is a file of receipts.
type finder interface {
	find(NameID) (*Entry, error)
	findExact(FileID) (*Entry, error)
}

// finders yields the files, newest first, with the highest number of an upload
// in each.
func (v *view) finders() iter.Seq2[finder, uint64] {
	return func(yield func(finder, uint64) bool) {
		for _, l := range slices.Backward(v.logs) {
			if !yield(l, l.newestUpload()) {
				return
			}
		}
		for _, r := range slices.Backward(v.runs) {
			if !yield(r, r.Newest) {
				return
			}
		}
	}
}
