package receipts

import (
	"cmp"
	"slices"
	"time"

	"inventorybeacon/uploads/spool/disk"
)

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

// RunOf writes a run of n entries that covers the logs numbered from low to
// high, as if they had come to be merged.
func RunOf(d disk.Disk, dir string, low, high uint64, n int, entry func(i int) *Entry) error {
	w, err := newRunWriter(d, dir+"/"+span{low, high, 0}.runName())
	if err != nil {
		return err
	}
	type place struct {
		FileID
		seq uint64
		i   int
	}
	all := make([]place, n)
	for i := range all {
		e := entry(i)
		all[i] = place{keyedOf(e).id, e.Upload.Seq, i}
	}
	slices.SortFunc(all, func(a, b place) int { return cmp.Or(a.compare(b.FileID), cmp.Compare(a.seq, b.seq)) })
	for _, p := range all {
		if err := w.add(keyedOf(entry(p.i))); err != nil {
			return err
		}
	}
	return w.finish()
}

// NextJob tells of how many logs and runs the next job is made where there are so
// many logs, and runs of so many receipts.
func NextJob(o Options, logs int, runs ...int) (fromLogs, fromRuns int) {
	a := &Archive{o: o, view: &view{users: 1}}
	for n := range logs {
		a.view.logs = append(a.view.logs, &log{number: uint64(len(runs) + n)})
	}
	for n, entries := range runs {
		r := &run{span: span{low: uint64(n), high: uint64(n)}}
		r.Entries = uint64(entries)
		a.view.runs = append(a.view.runs, r)
	}
	j := a.job(time.Now())
	if j == nil {
		return 0, 0
	}
	return len(j.logs), len(j.runs)
}
