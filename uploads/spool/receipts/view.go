package receipts

import (
	"inventorybeacon/uploads/spool/disk"
)

// A source is a file that look-ups may be reading.
type source struct {
	disk  disk.Disk
	name  string
	file  disk.File
	views int  // it is in; guarded by Archive.mu
	gone  bool // what it holds is elsewhere, or forgotten
}

// discard closes the file and removes it if it is of no use any longer. If that
// fails the next Open finds that another file covers it, and does it.
func (s *source) discard() {
	if s.file != nil {
		s.file.Close()
	}
	if s.gone {
		s.disk.Remove(s.name)
	}
}

// A view is the files that hold the receipts at an instant. It does not change;
// what it holds is open until its last user has left it.
type view struct {
	logs  []*log // oldest first; the last one is appended to
	runs  []*run // oldest first
	users int    // guarded by Archive.mu
}

func (v *view) sources() (out []*source) {
	for _, l := range v.logs {
		out = append(out, &l.source)
	}
	for _, r := range v.runs {
		out = append(out, &r.source)
	}
	return out
}

// look returns the view of this instant, which has to be left.
func (a *Archive) look() *view {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.view.users++
	return a.view
}

func (a *Archive) leave(v *view) {
	a.mu.Lock()
	v.users--
	var unused []*source
	if v.users == 0 {
		for _, s := range v.sources() {
			if s.views--; s.views == 0 {
				unused = append(unused, s)
			}
		}
	}
	a.mu.Unlock()
	for _, s := range unused {
		s.discard()
	}
}

// change replaces the view. Sources that are in no other any longer are closed
// when their last reader has left.
func (a *Archive) change(to func(old *view) *view) {
	a.mu.Lock()
	old := a.view
	v := to(old)
	for _, s := range v.sources() {
		s.views++
	}
	v.users, a.view = 1, v
	a.mu.Unlock()
	if old != nil {
		a.leave(old)
	}
}
