package spool

import (
	"context"
	"errors"

	"inventorybeacon/uploads"
)

// stock makes spares, and removes what is too much.
func (s *Spool) stock() {
	for s.pace() == nil {
		seg, number, missing := s.nextSpare()
		if seg == nil && !missing {
			return
		}
		seg, err := s.makeSpare(seg, number, missing)
		s.mu.Lock()
		s.upkeep.making = 0
		if seg != nil && err == nil {
			s.spares = append(s.spares, seg)
			s.idle.Broadcast()
		}
		s.mu.Unlock()
		if err != nil {
			if !errors.Is(err, uploads.ErrClosed) {
				s.log.Warn("no spare segment made", "err", err)
			}
			return
		}
	}
}

// nextSpare tells what to make a spare of: a free segment, or a file of that
// number; or what to remove, if none is missing.
func (s *Spool) nextSpare() (seg *segment, number uint64, missing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	missing = s.upkeep.spares > len(s.spares)
	if missing {
		s.upkeep.making = 1
		seg = s.takeSurplus()
	}
	if seg == nil && len(s.surplus) > 0 {
		seg, missing = s.surplus[0], false
		s.surplus = s.surplus[1:]
	}
	if seg == nil && missing {
		number = s.nextFile
		s.nextFile++
	}
	return seg, number, missing
}

func (s *Spool) makeSpare(seg *segment, number uint64, missing bool) (*segment, error) {
	if seg == nil {
		return makeSegment(s.disk, number, s.o.SegmentBytes, true, s.pace)
	}
	if !missing {
		return nil, s.removeSegment(seg)
	}
	err := seg.fill(s.pace)
	if errors.Is(err, uploads.ErrClosed) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.surplus = append(s.surplus, seg) // the next open fills it
		return nil, err
	}
	if err != nil {
		return nil, errors.Join(err, s.removeSegment(seg))
	}
	return seg, nil
}

// Ready waits until n segments are spare, and keeps as many from now on. It is
// for benchmarks and tests; serving never waits for it.
func (s *Spool) Ready(ctx context.Context, n int) error {
	if n > 0 && !s.o.Recycle {
		return errors.New("spares: segments are not recycled")
	}
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.idle.Broadcast()
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.upkeep.spares = max(s.upkeep.spares, n)
	s.kick()
	for len(s.spares) < n {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s.closed {
			return uploads.ErrClosed
		}
		s.idle.Wait()
	}
	return nil
}
