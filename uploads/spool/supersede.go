package spool

import (
	"fmt"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/journal"
)

// Supersede takes a file out of the spool because a newer one of its sender, which
// by names, holds all that it held; that is durable on return. It is neither a
// delivery nor a loss. A file that already left gives [uploads.ErrUnknown].
func (s *Spool) Supersede(seq uint64, by string) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	s.delivering.Lock()
	defer s.delivering.Unlock()
	s.mu.Lock()
	_, e := s.register.Find(seq)
	held := e != nil && isHeld(e)
	s.mu.Unlock()
	if !held {
		return fmt.Errorf("%w: %d", uploads.ErrUnknown, seq)
	}
	if err := s.note([]*journal.Mark{{Seq: seq, At: now(), Detail: brief("replaced by " + by), Left: true}}); err != nil {
		return fmt.Errorf("record that a newer file replaces it: %w", err)
	}
	return nil
}

// replaces reports whether a mark is one of [Spool.Supersede].
func replaces(m *journal.Mark) bool {
	return m.Sort == journal.Settled && m.Left && m.Sink == "" && !m.Lost()
}
