// Package gate stands between a spool and its relays, and shows them only files
// whose content was checked, or needs no check. Checks run in the background,
// behind the answer that their senders got: a file that is bad is marked, or
// leaves for the quarantine.
//
// What was checked is known in memory alone. After a restart everything that
// still waits is checked again, to the same end.
//
// Files of one device and kind are checked, and shown, in the order of their
// arrival; those of others do not wait for them. The gate knows how far it has
// looked and the files up to there that are not done, of which there is a bound;
// so that memory does not grow with the backlog.
package gate

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/backoff"
	"inventorybeacon/uploads/content"
	"inventorybeacon/uploads/relay"
	"inventorybeacon/uploads/spool"
)

// A Queue is what the gate stands before.
type Queue interface {
	relay.Queue
	// Held appends to out the keys of up to limit files, with Seq above after, in
	// ascending order.
	Held(after uint64, limit int, out []spool.Key) []spool.Key
	// Lookup returns what is known of a file, unless it has left.
	Lookup(seq uint64) (uploads.Upload, bool)
	// Flag records durably what was found in a file that stays. Again is no more
	// than once.
	Flag(seq uint64, detail string) error
	// Lose takes a file out for another reason than delivery; durable on return.
	Lose(seq uint64, reason, detail string) error
}

var (
	_ Queue           = (*spool.Spool)(nil)
	_ relay.Queue     = (*Gate)(nil)
	_ relay.Latecomer = (*Gate)(nil)
)

// Sink is what the quarantine and the losses call the check.
const Sink = "content check"

// Options say what a gate works with. Queue, Sinks, Quarantine and Check are
// required.
type Options struct {
	Queue Queue
	// Sinks are the names of all relays.
	Sinks      []string
	Quarantine relay.Quarantine
	Rules      content.Rules
	// Check judges a file. It returns an error matching [uploads.ErrContent] if the
	// file is bad, and soon once ctx is done.
	Check func(ctx context.Context, u uploads.Upload, body uploads.Body) error
	// Workers is how many files are checked at a time, at least one. More let files
	// pass sooner after a burst; fewer leave more of the machine to uploads.
	Workers int
	// Budget is how long one check may take; 0 means a minute. A file whose check
	// takes longer is flagged and goes on. A longer one lets a slow disk do; a
	// shorter one lets what comes behind go sooner.
	Budget time.Duration
	// Log defaults to discarding.
	Log *slog.Logger
}

// window is how many files may be looked at and not done. More let more others
// pass by those whose check takes long; each takes some hundred bytes.
const window = 4096

// A Gate is a queue that hides what was not checked.
type Gate struct {
	Queue
	o    Options
	wake chan struct{}

	mu     sync.Mutex
	seen   uint64              // how far was looked
	open   map[uint64]struct{} // not done, of those
	lines  map[lineKey]*line
	turns  []*line // that have a file to check and none being checked
	parked []parked
	busy   int // workers, those that rest included
	burst  burst
	exits  map[string]*exit
	stats  Stats
}

// An exit is where one relay takes files from.
type exit struct {
	added chan struct{}
	shown uint64 // the highest number shown
	late  []spool.Key
}

// Files of one line are checked one by one.
type lineKey struct {
	source uint64
	kind   string
}

type line struct {
	key   lineKey
	files []spool.Key
	tries int // of the first file
}

// A parked line waits for the time of its next try.
type parked struct {
	line *line
	at   time.Time
}

// Stats are a gate's numbers.
type Stats struct {
	Waiting int // files looked at and not done
	Sound   uint64
	Flagged uint64
	Refused uint64
	Failed  uint64        // checks that crashed, took too long, or could not read
	Busy    time.Duration // spent on checks
}

// New returns a gate that shows nothing before Run.
func New(o Options) *Gate {
	o.Workers = max(1, o.Workers)
	if o.Budget <= 0 {
		o.Budget = time.Minute
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	g := &Gate{
		Queue: o.Queue, o: o, wake: make(chan struct{}, 1),
		open: map[uint64]struct{}{}, lines: map[lineKey]*line{}, exits: map[string]*exit{},
	}
	for _, s := range o.Sinks {
		g.exits[s] = &exit{added: make(chan struct{}, 1)}
	}
	return g
}

// Stats returns the numbers of this instant.
func (g *Gate) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	st := g.stats
	st.Waiting = len(g.open)
	return st
}

// Run checks files until ctx is done, and returns ctx's error. It may be called
// once.
func (g *Gate) Run(ctx context.Context) error {
	var loops, checks sync.WaitGroup
	for _, s := range g.o.Sinks {
		loops.Go(func() { g.forward(ctx, g.o.Queue.Added(s)) })
	}
	defer loops.Wait()
	defer checks.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		g.look()
		if wait, ok := g.launch(ctx, &checks, time.Now()); ok {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-g.wake:
		case <-timer.C:
		}
	}
}

// forward passes a queue's tokens on to the loop, which tells the relays.
func (g *Gate) forward(ctx context.Context, added <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-added:
			g.mu.Lock()
			g.burst.more(time.Now())
			g.mu.Unlock()
			notify(g.wake)
		}
	}
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // a token is there
	}
}

// lookChunk is how many files are looked at before relays are told.
const lookChunk = 256

// look goes on from where it got to, as far as the window reaches, and tells the
// relays.
func (g *Gate) look() {
	var keys []spool.Key
	for {
		g.mu.Lock()
		room, after := window-len(g.open), g.seen
		g.mu.Unlock()
		keys = g.o.Queue.Held(after, min(room, lookChunk), keys[:0])
		for _, k := range keys {
			g.place(k, g.needed(k))
		}
		if len(keys) > 0 {
			for _, e := range g.exits {
				notify(e.added)
			}
		}
		if len(keys) < lookChunk {
			return
		}
	}
}

// needed reports whether a file must be checked.
func (g *Gate) needed(k spool.Key) bool {
	if g.o.Rules.Skips(k.Kind) {
		return false
	}
	u, held := g.o.Queue.Lookup(k.Seq)
	return held && g.o.Rules.For(u) != content.Off
}

// place takes a file into its line, or lets it pass.
func (g *Gate) place(k spool.Key, check bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen = k.Seq
	if !check {
		return
	}
	g.open[k.Seq] = struct{}{}
	key := lineKey{k.Source, k.Kind}
	l := g.lines[key]
	if l == nil {
		l = &line{key: key}
		g.lines[key] = l
		g.turns = append(g.turns, l)
	}
	l.files = append(l.files, k)
}

// launch starts as many checks as may run, and returns how long no other will
// be due by time alone.
func (g *Gate) launch(ctx context.Context, checks *sync.WaitGroup, now time.Time) (wait time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	still := g.parked[:0]
	for _, p := range g.parked {
		switch left := p.at.Sub(now); {
		case left <= 0:
			g.turns = append(g.turns, p.line)
		default:
			still = append(still, p)
			if !ok || left < wait {
				wait, ok = left, true
			}
		}
	}
	g.parked = still
	for g.busy < g.o.Workers && len(g.turns) > 0 {
		l := g.turns[0]
		g.turns = g.turns[1:]
		g.busy++
		checks.Go(func() { g.next(ctx, l) })
	}
	return wait, ok
}

// next checks the first file of a line.
func (g *Gate) next(ctx context.Context, l *line) {
	began := time.Now()
	g.done(ctx, l, g.settle(ctx, l.files[0].Seq, l.tries))
	g.rest(ctx, time.Since(began))
}

// retries space the tries of what the disk does not let happen.
var retries = backoff.Backoff{Min: time.Second, Max: time.Minute}

// done lets a line's first file pass if it is settled, else tries again later.
func (g *Gate) done(ctx context.Context, l *line, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		l.tries++
		g.parked = append(g.parked, parked{l, time.Now().Add(retries.Delay(l.tries))})
		if ctx.Err() == nil {
			g.o.Log.Error("content check cannot be completed, the file waits", slog.Uint64("seq", l.files[0].Seq), slog.Any("err", err))
		}
		return
	}
	k := l.files[0]
	l.files, l.tries = l.files[1:], 0
	delete(g.open, k.Seq)
	if len(l.files) > 0 {
		g.turns = append(g.turns, l)
	} else {
		delete(g.lines, l.key)
	}
	for _, e := range g.exits {
		if k.Seq <= e.shown {
			e.late = append(e.late, k)
		}
		notify(e.added)
	}
}
