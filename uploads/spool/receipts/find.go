package receipts

import (
	"errors"
	"iter"
	"slices"
)

// Find returns the newest upload of a name that was not lost, or nil. What is
// damaged is taken for absent, here and elsewhere: it is logged and counted.
func (a *Archive) Find(id NameID) (*Entry, error) {
	return a.newest(func(f finder) (*Entry, error) { return f.find(id) }, func(*Entry) bool { return false })
}

// FindExact returns the newest upload of certain bytes under a name, lost or
// not, or nil.
func (a *Archive) FindExact(id FileID) (*Entry, error) {
	// While one that was not lost was known, nothing else was stored.
	return a.newest(func(f finder) (*Entry, error) { return f.findExact(id) }, func(e *Entry) bool { return !e.Lost() })
}

// newest asks all files that may have a newer upload than what was found, until
// one is enough.
func (a *Archive) newest(ask func(finder) (*Entry, error), enough func(*Entry) bool) (best *Entry, failed error) {
	v := a.look()
	defer a.leave(v)
	for f, newest := range v.finders() {
		if best != nil && best.Upload.Seq >= newest {
			continue
		}
		e, err := ask(f)
		switch {
		case errors.Is(err, errDamaged):
		case err != nil:
			failed = err
		case e != nil && enough(e):
			return e, nil
		case e != nil && (best == nil || e.Upload.Seq > best.Upload.Seq):
			best = e
		}
	}
	if best != nil {
		return best, nil
	}
	return nil, failed
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
