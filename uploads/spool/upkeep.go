package spool

import (
	"errors"
	"io/fs"
	"time"

	"inventorybeacon/uploads"
)

// upkeep is what is done behind the uploads, by one goroutine that runs while
// there is something to do and that Close waits for.
type upkeep struct {
	running bool
	wanted  bool
	opening bool     // nothing is done before the replay is through
	blobs   []uint64 // uploads that left, with a body in a file of its own
	spares  int      // wanted
	making  int      // being filled
	pruned  time.Time
}

// pruneEvery is how often receipts beyond the horizon are looked for. It costs
// next to nothing when there are none; less often keeps them a little longer.
const pruneEvery = time.Hour

// kick starts the upkeep. s.mu is held.
func (s *Spool) kick() {
	if s.closed || s.upkeep.opening {
		return
	}
	s.upkeep.wanted = true
	if s.upkeep.running {
		s.idle.Broadcast()
		return
	}
	s.upkeep.running = true
	go s.keepUp()
}

func (s *Spool) keepUp() {
	for {
		s.mu.Lock()
		if !s.upkeep.wanted || s.closed {
			s.upkeep.running = false
			s.idle.Broadcast()
			s.mu.Unlock()
			return
		}
		s.upkeep.wanted = false
		s.mu.Unlock()
		s.tidy()
	}
}

// tidy goes once through everything that may have to be done. What fails is
// tried again when there is next a reason to look.
func (s *Spool) tidy() {
	s.tidyNow()
	s.stock()
	if s.pace() == nil {
		s.restoreReserve()
	}
	s.prune(time.Now())
}

// prune forgets receipts beyond the horizon.
func (s *Spool) prune(now time.Time) {
	if now.Sub(s.upkeep.pruned) < pruneEvery || s.isClosed() {
		return
	}
	s.upkeep.pruned = now
	if err := s.archive.Prune(now.Add(-s.o.Horizon)); err != nil {
		s.log.Error("old receipts not removed", "err", err)
	}
}

// tidyNow is the part that does not wait for uploads to pause: it is what gives
// them room.
func (s *Spool) tidyNow() {
	s.removeBlobs()
	s.freeSegments()
	s.sealSegments()
	s.compact()
}

func (s *Spool) removeBlobs() {
	s.mu.Lock()
	left := s.upkeep.blobs
	s.upkeep.blobs = nil
	s.mu.Unlock()
	for _, seq := range left {
		if u := s.uploadOf(seq); u.Blob != "" {
			s.removeBlob(u.Blob)
		}
	}
}

func (s *Spool) removeBlob(name string) {
	if err := s.disk.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("body not removed", "file", name, "err", err)
	}
}

// pick returns the segments that are not written to any longer and fit.
func (s *Spool) pick(fits func(*segment) bool) (out []*segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seg := range s.segments {
		if seg != s.active && seg.full && seg.syncing == 0 && fits(seg) {
			out = append(out, seg)
		}
	}
	return out
}

func (s *Spool) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// pace waits until no upload waits for the disk. What cannot wait as long is
// done meanwhile.
func (s *Spool) pace() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed {
		if s.upkeep.wanted {
			s.upkeep.wanted = false
			s.mu.Unlock()
			s.tidyNow()
			s.mu.Lock()
			continue
		}
		if s.appending == 0 {
			return nil
		}
		s.idle.Wait()
	}
	return uploads.ErrClosed
}
