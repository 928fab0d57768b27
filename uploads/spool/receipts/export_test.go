package receipts

import "time"

// Small makes logs and runs full soon, keeps few events in memory, and lets
// Append do at once what is otherwise done in the background.
func Small(logEntries, runEntries int) Options {
	return Options{logEntries: logEntries, runEntries: runEntries, windowEvents: 50, inline: true}
}

// Background undoes the last of these.
func (o Options) Background() Options {
	o.inline = false
	return o
}

// WaitIdle waits until there is nothing to do in the background.
func (a *Archive) WaitIdle() {
	a.kick()
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.upkeep.running {
		a.upkeep.idle.Wait()
	}
}

// Forgive lets merges that failed be tried again.
func (a *Archive) Forgive() {
	v := a.look()
	defer a.leave(v)
	for _, r := range v.runs {
		r.retry = time.Time{}
	}
}

// Runs is how many receipts each run has, oldest first.
func (a *Archive) Runs() (out []int) {
	v := a.look()
	defer a.leave(v)
	for _, r := range v.runs {
		out = append(out, int(r.Entries))
	}
	return out
}

// Memory is how much the guides of the runs take.
func (a *Archive) Memory() (n int) {
	v := a.look()
	defer a.leave(v)
	for _, r := range v.runs {
		n += r.guide.bytes() + len(r.heads)
	}
	return n
}
