package spool

// Waiting returns the sinks that are still to get a held file.
func (s *Spool) Waiting(seq uint64) (out []SinkName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, e := s.register.Find(seq)
	if e == nil {
		return nil
	}
	for _, k := range s.sinks {
		if s.pendingFor(k)(e) {
			out = append(out, k.SinkName)
		}
	}
	return out
}
