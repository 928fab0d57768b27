package receipts

import (
	"math/bits"
	"slices"
	"time"
)

// A job replaces logs or runs next to each other by one run.
type job struct {
	span
	logs []*log
	runs []*run
}

const (
	// fanout is how many runs of a size become one. More of them mean fewer writes
	// and more files to look in.
	fanout     = 4
	fanoutBits = 2 // of fanout
	// manyRuns are merged before further logs become runs. A look-up asks each, which
	// takes a tenth of a microsecond: more of them cost uploads that much, while
	// fewer keep logs waiting, which take more memory.
	manyRuns = 32
)

// job returns what is to be done next, or nil.
func (a *Archive) job(now time.Time) *job {
	v := a.look()
	defer a.leave(v)
	merge := a.suffix(v.runs)
	if slices.ContainsFunc(merge, func(r *run) bool { return now.Before(r.retry) }) {
		merge = nil
	}
	if len(v.logs) > 1 && len(merge) < manyRuns {
		l := v.logs[0]
		return &job{span: span{l.number, l.number, 0}, logs: v.logs[:1]}
	}
	if len(v.logs) > 1 {
		return mergeOf(merge)
	}
	horizon := a.forgetting()
	for i, r := range v.runs {
		if now.After(r.retry) && (r.rebuilt || isWorn(r.ages, int(r.Entries), horizon)) {
			return &job{span: span{r.low, r.high, r.rewritten + 1}, runs: v.runs[i : i+1]}
		}
	}
	return mergeOf(merge)
}

// mergeOf makes one of runs next to each other; nil if there are none.
func mergeOf(runs []*run) *job {
	if len(runs) == 0 {
		return nil
	}
	return &job{span: span{runs[0].low, runs[len(runs)-1].high, 0}, runs: runs}
}

func (a *Archive) forgetting() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.horizon
}

// suffix chooses the runs to merge: the newest ones up to a size of which there
// are fanout or more. So there are at most fanout-1 of each size besides those
// that are large enough, and every receipt is written once for each size.
func (a *Archive) suffix(runs []*run) []*run {
	var best []*run
	size, count := 0, 0
	for i, r := range slices.Backward(runs) {
		s := a.size(r)
		if int(r.Entries) >= a.o.runEntries {
			break
		}
		if s > size {
			size, count = s, 0
		}
		if s == size {
			count++
		}
		if count >= fanout {
			best = runs[i:]
		}
	}
	return best
}

// size tells runs apart by the power of fanout times a log that they hold.
func (a *Archive) size(r *run) int {
	return max(bits.Len64(r.Entries/uint64(a.o.logEntries))-1, 0) / fanoutBits
}
