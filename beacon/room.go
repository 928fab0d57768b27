package beacon

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"inventorybeacon/beacon/admission"
	"inventorybeacon/beacon/comeback"
	"inventorybeacon/uploads"
)

// A DiskError is a disk, or a spool, that is too full. It matches
// [uploads.ErrFull].
type DiskError struct {
	Reason admission.Reason
	text   string
}

func (e *DiskError) Error() string { return fmt.Sprintf("%v: %s", uploads.ErrFull, e.text) }

// Unwrap returns [uploads.ErrFull].
func (e *DiskError) Unwrap() error { return uploads.ErrFull }

// A room decides whether the disk and the spool take an upload.
type room struct {
	free  func() (int64, error)
	marks admission.Watermarks
	// files is how many the spool holds, of which it may hold most; 0 is no bound.
	files func() int
	most  int

	mu    sync.Mutex
	left  int64
	held  int
	err   error
	asked time.Time
	mark  atomic.Pointer[admission.Reason] // that the disk was below
}

// roomEvery is how old the answer about the disk may be. Asking more often
// costs a system call an upload; less often lets a burst overshoot further.
const roomEvery = 100 * time.Millisecond

// check takes room for an upload of a class and so many bytes, or says why not.
func (r *room) check(c comeback.Class, bytes int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.look(time.Now())
	if r.err != nil {
		return fmt.Errorf("look at the disk: %w", r.err)
	}
	if r.most > 0 && r.held >= r.most {
		return &DiskError{admission.Spool, fmt.Sprintf("%d files are held, as many as may be", r.held)}
	}
	left := r.left - max(bytes, 0)
	if reason, refused := r.marks.Refuses(c, left); refused {
		return &DiskError{reason, fmt.Sprintf("%d bytes would be free; %s must stay", max(left, 0), r.must(reason))}
	}
	r.left = left // until the disk is asked again
	if bytes != 0 {
		r.held++
	}
	return nil
}

func (r *room) look(now time.Time) {
	if now.Sub(r.asked) <= roomEvery {
		return
	}
	r.left, r.err = r.free()
	r.held = r.files()
	r.asked = now
	var mark admission.Reason
	if r.err == nil {
		mark = r.marks.Below(r.left)
	}
	r.mark.Store(&mark)
}

func (r *room) must(reason admission.Reason) string {
	if reason == admission.DiskLow {
		return fmt.Sprintf("%d, before logs are taken,", r.marks.Logs)
	}
	return fmt.Sprint(r.marks.Uploads)
}

// below says which watermark the disk is under, empty for none.
// It does not wait for others who ask.
func (r *room) below() admission.Reason {
	if r.mu.TryLock() {
		r.look(time.Now())
		r.mu.Unlock()
	}
	if mark := r.mark.Load(); mark != nil {
		return *mark
	}
	return ""
}

func (r *room) last() bool { return r.below() == admission.DiskLast }
