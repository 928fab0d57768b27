package beacon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"

	"inventorybeacon/uploads/spool/disk"
)

// slots count something that is limited.
type slots struct {
	limit int64
	taken atomic.Int64
}

func (s *slots) enter() bool {
	if s.taken.Add(1) > s.limit {
		s.taken.Add(-1)
		return false
	}
	return true
}

func (s *slots) leave() { s.taken.Add(-1) }

func (s *slots) half() bool { return s.taken.Load()*2 > s.limit }

// drain lets uploads finish and no new one begin.
type drain struct {
	mu       sync.Mutex
	stopping bool
	inside   int
	empty    chan struct{} // closed once stopping and nothing is inside
}

func (d *drain) started() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopping
}

func (d *drain) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping {
		return false
	}
	d.inside++
	return true
}

func (d *drain) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inside--
	d.check()
}

func (d *drain) check() {
	if d.stopping && d.inside == 0 {
		close(d.empty)
	}
}

// start begins; the channel is closed when the last upload has left.
func (d *drain) start() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.stopping {
		d.stopping, d.empty = true, make(chan struct{})
		d.check()
	}
	return d.empty
}

// Drain makes the reachability check answer 503, turns new uploads away and
// returns a channel that is closed when the last one is done. Downloads go on.
func (a *Agents) Drain() <-chan struct{} { return a.drain.start() }

// health remembers whether the spool could store the last upload it got.
type health struct {
	failure atomic.Pointer[error]
	full    atomic.Pointer[error] // the disk had no room, although no watermark said so
}

// note takes how an upload ended. What the sender did wrong says nothing about
// the spool, and neither does an answer that sends it away.
func (h *health) note(sender, err error) {
	switch status, _ := judge(err); {
	case err == nil:
		h.failure.Store(nil)
		h.full.Store(nil)
	case disk.IsFull(err):
		h.full.Store(&err)
	case sender == nil && (status == http.StatusInternalServerError || errors.Is(err, syscall.EROFS)) && !errors.Is(err, context.Canceled):
		h.failure.Store(&err)
	}
}

// Full says why there was no room for the last upload, or nil.
func (a *Agents) Full() error {
	if err := a.health.full.Load(); err != nil {
		return *err
	}
	return nil
}

// Trouble says why uploads cannot be stored, or nil.
func (a *Agents) Trouble() error {
	if err := a.health.failure.Load(); err != nil {
		return fmt.Errorf("the last upload could not be stored: %w", *err)
	}
	return nil
}
