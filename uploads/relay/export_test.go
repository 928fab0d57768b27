package relay

// SetWindow makes the window, and what is asked for at once, so small that a test
// can fill them. Call it before Run.
func (r *Relay) SetWindow(files, chunk int) { r.plan.window, r.chunk = files, chunk }

// Planned returns how many files the relay holds in memory.
func (r *Relay) Planned() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.plan.known)
}

// SetOutOfLine bounds how many files out of their lines the relay remembers. Call
// it before Run.
func (r *Relay) SetOutOfLine(files int) { r.plan.off.most = files }
