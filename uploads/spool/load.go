package spool

// Files returns how many files are held. Unlike Stats it never waits for a disk.
func (s *Spool) Files() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held.count
}

// Memory returns what bodies that are being collected take of the memory, and
// the most that they may. Unlike Stats it never waits for a disk.
func (s *Spool) Memory() (used, limit int64) {
	return s.budget.taken(), s.o.MemoryBudget
}
