package receipts

import (
	"sync"
	"time"
)

// upkeep is what is done behind Append, by one goroutine that runs while there
// is something to do and that Close waits for.
type upkeep struct {
	running bool
	wanted  bool
	closed  bool
	idle    *sync.Cond // running became false
}

// retryAfter is how long a run whose merge failed is left alone. A shorter time
// tries more often in vain to read a bad disk; a longer one leaves more runs to
// look in once it is good again.
const retryAfter = time.Hour

// kick starts the upkeep.
func (a *Archive) kick() {
	a.mu.Lock()
	if a.upkeep.closed {
		a.mu.Unlock()
		return
	}
	a.upkeep.wanted = true
	if a.upkeep.running {
		a.mu.Unlock()
		return
	}
	a.upkeep.running = true
	a.mu.Unlock()
	if a.o.inline {
		a.keepUp()
		return
	}
	go a.keepUp()
}

// rest ends the upkeep for good.
func (a *Archive) rest() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.upkeep.closed = true
	for a.upkeep.running {
		a.upkeep.idle.Wait()
	}
}

func (a *Archive) isClosed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.upkeep.closed
}

func (a *Archive) keepUp() {
	for a.wanted() {
		for !a.isClosed() {
			j := a.job(time.Now())
			if j == nil {
				break
			}
			if err := j.run(a); err != nil {
				a.failed(j, err)
				break
			}
		}
	}
}

// wanted says whether there is a reason to look, and ends the upkeep if not.
func (a *Archive) wanted() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.upkeep.wanted && !a.upkeep.closed {
		a.upkeep.wanted = false
		return true
	}
	a.upkeep.running = false
	a.upkeep.idle.Broadcast()
	return false
}

func (a *Archive) failed(j *job, err error) {
	if a.isClosed() {
		return
	}
	a.log.Error("receipts not merged", "run", j.span.runName(), "err", err)
	for _, r := range j.runs {
		r.retry = time.Now().Add(retryAfter)
	}
}
