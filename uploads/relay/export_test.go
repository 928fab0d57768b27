package relay

// SetWindow makes the window so small that a test can fill it. Call it before Run.
func (r *Relay) SetWindow(files int) { r.plan.window = files }

// Planned returns how many files the relay holds in memory.
func (r *Relay) Planned() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.plan.known)
}
