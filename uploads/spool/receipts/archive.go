package receipts

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

	"inventorybeacon/uploads/spool/disk"
)

// Options say how receipts are kept.
type Options struct {
	// Log defaults to discarding.
	Log *slog.Logger

	// These are for tests; 0 means the usual.
	logEntries   int  // from how many on a log is full
	runEntries   int  // from how many on a run is not merged any further
	windowEvents int  // how many Events holds at once
	inline       bool // what is done in the background is done before Append returns
}

const (
	// defaultLogEntries makes a log of usual receipts some 6 MB. Fuller logs take
	// more memory and are read for longer when the archive is opened; emptier ones
	// are merged more often.
	defaultLogEntries = 16 << 10
	// defaultRunEntries bounds what one merge does, and the memory it takes: some
	// 20 MB. Larger runs mean fewer files for a look-up to ask, smaller ones are
	// forgotten sooner when they are old.
	defaultRunEntries = 1 << 20
)

// An Archive is a directory of receipts. Its methods may be called by several
// goroutines at once.
type Archive struct {
	disk disk.Disk
	dir  string
	o    Options
	log  *slog.Logger
	hurt int // files of which nothing can be read

	adding sync.Mutex // held by whoever appends or begins a log
	marked bool       // the mark is there
	swept  bool       // leftovers are removed, and the names that are left durable
	stale  []string   // leftovers
	next   uint64     // number of the next log

	mu      sync.Mutex // not held while the disk works
	view    *view
	horizon time.Time // uploads to which nothing has happened since are forgotten
	upkeep  upkeep
}

// Open reads the receipts in the directory dir, which need not exist before the
// first Append. It changes nothing. What a newer version wrote gives
// journal.ErrNewer.
func Open(d disk.Disk, dir string, o Options) (*Archive, error) {
	a := &Archive{disk: d, dir: dir, o: o, log: o.Log, next: 1}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.o.logEntries = cmp.Or(o.logEntries, defaultLogEntries)
	a.o.runEntries = cmp.Or(o.runEntries, defaultRunEntries)
	a.o.windowEvents = cmp.Or(o.windowEvents, windowEvents)
	a.upkeep.idle = sync.NewCond(&a.mu)
	v := &view{}
	if err := a.load(v); err != nil {
		for _, s := range v.sources() {
			s.file.Close()
		}
		return nil, fmt.Errorf("open receipts: %w", err)
	}
	a.change(func(*view) *view { return v })
	return a, nil
}

func (a *Archive) load(v *view) error {
	ents, err := a.disk.ReadDir(a.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var runs []span
	var logs []uint64
	for _, ent := range ents {
		if s, ok := parseRunName(ent.Name()); ok {
			runs = append(runs, s)
			a.next = max(a.next, s.high+1)
		}
		if n, ok := parseLogName(ent.Name()); ok {
			logs = append(logs, n)
			a.next = max(a.next, n+1)
		}
		if isTemp(ent.Name()) {
			a.stale = append(a.stale, a.path(ent.Name()))
		}
	}
	if err := a.loadRuns(v, runs); err != nil {
		return err
	}
	return a.loadLogs(v, logs)
}

// loadRuns opens the runs that no other covers.
func (a *Archive) loadRuns(v *view, spans []span) error {
	// Those that may cover others first, so that one that turns out to be
	// unreadable covers nothing.
	slices.SortFunc(spans, func(x, y span) int {
		return cmp.Or(cmp.Compare(y.width(), x.width()), cmp.Compare(y.rewritten, x.rewritten))
	})
	for _, s := range spans {
		if v.covers(s) {
			a.stale = append(a.stale, a.path(s.runName()))
			continue
		}
		r, err := openRun(a.disk, a.dir, s, a.log)
		if errors.Is(err, errDamaged) {
			a.hurt++
			a.log.Error("receipts unreadable, left alone", "file", a.path(s.runName()), "err", err)
			continue
		}
		if err != nil {
			return err
		}
		if r.rebuilt {
			a.log.Error("receipts damaged, what is intact was found", "file", r.name, "receipts", r.Entries)
		}
		v.runs = append(v.runs, r)
	}
	slices.SortFunc(v.runs, func(x, y *run) int { return cmp.Compare(x.low, y.low) })
	return nil
}

// covers says whether a run holds what a file with these numbers would.
func (v *view) covers(s span) bool {
	return slices.ContainsFunc(v.runs, func(r *run) bool { return r.span == s || r.covers(s) })
}

// loadLogs opens the logs that no run covers. The last one is appended to, unless
// it is full.
func (a *Archive) loadLogs(v *view, numbers []uint64) error {
	if err := a.loadOld(v); err != nil {
		return err
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		name := a.path(logName(n))
		if v.covers(span{n, n, 0}) {
			a.stale = append(a.stale, name)
			continue
		}
		l, err := openLog(a.disk, name)
		if err != nil {
			return err
		}
		l.number = n
		v.logs = append(v.logs, l)
	}
	if len(v.logs) == 0 || v.logs[len(v.logs)-1].number != a.next-1 {
		v.logs = append(v.logs, a.newLog())
	}
	return nil
}

// loadOld reads the log of version 1, if that is what there is.
func (a *Archive) loadOld(v *view) error {
	l, err := openLog(a.disk, a.path(markName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if l.count > 0 && !v.covers(span{0, 0, 0}) {
		v.logs = append(v.logs, l)
		return nil
	}
	a.marked = l.version == logVersion && l.sound
	return l.file.Close()
}

func (a *Archive) newLog() *log {
	l := newLog(a.disk, a.path(logName(a.next)))
	l.number = a.next
	a.next++
	return l
}

func (a *Archive) path(base string) string { return a.dir + "/" + base }

// Len is the number of receipts; one that was replaced counts until it is
// merged with the one that replaced it.
func (a *Archive) Len() (n int) {
	v := a.look()
	defer a.leave(v)
	for _, l := range v.logs {
		n += l.length()
	}
	for _, r := range v.runs {
		n += int(r.Entries)
	}
	return n
}

// Damaged is how many parts of the receipts are known to be unreadable.
func (a *Archive) Damaged() int {
	v := a.look()
	defer a.leave(v)
	n := a.hurt
	for _, l := range v.logs {
		n += l.damaged
	}
	for _, r := range v.runs {
		n += r.damaged()
	}
	return n
}

// Last is the highest event number that was ever appended, also if what had it
// has been forgotten.
func (a *Archive) Last() uint64 {
	v := a.look()
	defer a.leave(v)
	return v.last()
}

// Close ends what is done in the background and closes the files.
func (a *Archive) Close() error {
	a.rest()
	a.adding.Lock()
	defer a.adding.Unlock()
	a.change(func(*view) *view { return &view{} })
	return nil
}
