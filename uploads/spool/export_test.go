package spool

import (
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/receipts"
	"inventorybeacon/uploads/spool/register"
)

// AckEarly puts the bug in that the recording seam must catch: success is
// returned before the sync.
func (s *Spool) AckEarly() { s.ackEarly = true }

// SetBudgetUsed takes memory away from bodies.
func (s *Spool) SetBudgetUsed(n int64) {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	s.budget.used = n
}

// WaitTidy waits until the upkeep has nothing to do.
func (s *Spool) WaitTidy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kick()
	for s.upkeep.running {
		s.idle.Wait()
	}
}

// Pin reads from the segment of an upload's record until it is let go.
func (s *Spool) Pin(seq uint64) (letGo func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, e := s.register.Find(seq)
	l, _ := s.locate(e)
	return func() { s.letGo(l) }
}

// Prune forgets receipts of files to which nothing happened since.
func (s *Spool) Prune(before time.Time) error { return s.archive.Prune(before) }

// Place tells where an upload's record lies.
func (s *Spool) Place(seq uint64) (file string, from, to int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, e := s.register.Find(seq)
	from = int64(e.Block) * journal.Block
	return s.byID[e.Segment].name, from, from + journal.RecordHeader + int64(e.Meta) + inline(e)
}

// MarkPlaces tells where the records of an upload's marks lie.
func (s *Spool) MarkPlaces(seq uint64) (files []string, at []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, e := s.register.Find(seq)
	for m := range s.marks.List(e.Marks) {
		files, at = append(files, s.byID[m.Segment].name), append(at, int64(m.Block)*journal.Block)
	}
	return files, at
}

// LossesLeft makes n losses, of which those are of uploads that are still there
// that there says, and returns the events of those that are not forgotten then.
func LossesLeft(n uint64, there func(seq uint64) bool) (events []uint64) {
	s := &Spool{register: register.New()}
	for seq := uint64(1); seq <= n; seq++ {
		s.losses = append(s.losses, lossRef{event: n + seq, seq: seq})
		if there(seq) {
			s.register.Add(entry{Seq: seq, Name: uint32(seq), File: uint32(seq)})
		}
	}
	s.forgetLosses()
	for _, l := range s.losses {
		events = append(events, l.event-n)
	}
	return events
}

// SlowestSpills reports the bodies being collected that were told to leave memory.
func (s *Spool) SlowestSpills() (n int) {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	for l := range s.budget.loads {
		if l.slow.Load() {
			n++
		}
	}
	return n
}

var _ uploads.Body = (*memoryBody)(nil)

// SameNameID says whether a name's identity is the same from either form.
func SameNameID(kind string, n uploads.Name) bool {
	return nameID(kind, n.String()) == receipts.NameIDOf(kind, n)
}
