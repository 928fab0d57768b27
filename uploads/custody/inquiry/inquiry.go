// Package inquiry finds out how far up the files have got that a destination
// took: a beacon asks its parent, in the background, until the parent's store
// has them.
//
// What it remembers is bounded. A file that found no room, or that was asked
// about for a week, is asked about again only when somebody wants to know of it;
// nothing but what is shown of it depends on that.
package inquiry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/backoff"
	"inventorybeacon/uploads/custody"
	"inventorybeacon/uploads/spool"
)

const (
	// perMinute bounds the questions. More learn sooner after a burst; fewer spare
	// the parent, for which one costs a look-up and a signature.
	perMinute = 600
	// maxFiles bounds the files remembered, at about 300 bytes each.
	maxFiles = 20_000
)

// whileDown spaces questions while the destination does not answer.
var whileDown = backoff.Backoff{Min: 5 * time.Second, Max: 4 * time.Minute}

// A Teller says who holds a file; [uploads.ErrUnknown] if it does not know it.
type Teller interface {
	Reached(ctx context.Context, u uploads.Upload) ([]uploads.Custody, error)
}

// A Ledger keeps what was learnt; a spool does.
type Ledger interface {
	FindExact(kind string, name uploads.Name, d uploads.Digest) (uploads.Receipt, bool)
	Learn(kind string, name uploads.Name, d uploads.Digest, c []uploads.Custody) error
}

// Options say whom to ask. All are required but Recent and Log.
type Options struct {
	// Sink is the destination's name in the spool's events.
	Sink   string
	Teller Teller
	Ledger Ledger
	// Recent returns files that were delivered before the process began and may
	// not have got all the way; at most limit.
	Recent func(ctx context.Context, limit int) ([]custody.File, error)
	// Log defaults to discarding.
	Log *slog.Logger
}

// An Asker asks one destination. Its methods may be called by several goroutines.
type Asker struct {
	o    Options
	wake chan struct{}

	mu        sync.Mutex
	questions *custody.Questions
	status    Status
}

// Status is how an asker is doing.
type Status struct {
	Sink      string
	Waiting   int    // files of which more is to be heard
	Asked     uint64 // questions
	Learnt    uint64 // answers that told something new
	Failures  uint64 // questions without an answer
	Forgotten uint64 // files that found no room
}

// New returns an asker that asks nothing before Run.
func New(o Options) *Asker {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Log = o.Log.With(slog.String("sink", o.Sink))
	return &Asker{o: o, wake: make(chan struct{}, 1), questions: custody.NewQuestions(maxFiles)}
}

// Observe takes the spool's events: what the destination took is asked about
// unless it told at once that the store has it, or tells nothing.
func (a *Asker) Observe(e spool.Event) {
	if e.What != spool.Delivered || e.Sink != a.o.Sink || custody.Highest(e.Custody) == "" || custody.Reached(e.Custody, uploads.LevelStore) {
		return
	}
	a.mu.Lock()
	a.questions.Add(custody.File{Kind: e.Upload.Kind, Name: e.Upload.Name, Digest: e.Upload.Digest}, time.Now())
	a.mu.Unlock()
	a.rouse()
}

// Want says that somebody waits to hear of a file that a parent holds.
func (a *Asker) Want(f custody.File) {
	a.mu.Lock()
	a.questions.Urge(f, time.Now())
	a.mu.Unlock()
	a.rouse()
}

func (a *Asker) rouse() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Status returns how the asker is doing at this instant.
func (a *Asker) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.status
	s.Sink, s.Waiting, s.Forgotten = a.o.Sink, a.questions.Len(), a.questions.Forgotten()
	return s
}

// Run asks until ctx is done, and returns its error, or until the ledger is
// closed.
func (a *Asker) Run(ctx context.Context) error {
	a.remember(ctx)
	failures := 0
	for ctx.Err() == nil {
		f, ok := a.next(ctx)
		if !ok {
			continue
		}
		err := a.ask(ctx, f)
		switch {
		case errors.Is(err, uploads.ErrClosed):
			return err
		case err == nil:
			failures = 0
		case ctx.Err() == nil:
			failures++
			a.o.Log.Info("how far files have got is not known", slog.Int("failures", failures), slog.Any("err", err))
		}
		backoff.Sleep(ctx, pause(failures, err))
	}
	return ctx.Err()
}

// pause is how long no question is asked after one.
func pause(failures int, err error) time.Duration {
	wait := time.Minute / perMinute
	if failures > 0 {
		wait = max(wait, whileDown.Delay(failures))
	}
	if retry, ok := errors.AsType[*uploads.RetryError](err); ok {
		wait = max(wait, retry.After)
	}
	return wait
}

// remember takes up what an earlier process left unheard.
func (a *Asker) remember(ctx context.Context) {
	if a.o.Recent == nil {
		return
	}
	files, err := a.o.Recent(ctx, maxFiles)
	if err != nil {
		if ctx.Err() == nil {
			a.o.Log.Warn("files delivered before the start are asked about only on demand", slog.Any("err", err))
		}
		return
	}
	for _, f := range files {
		if ctx.Err() != nil {
			return
		}
		if r, ok := a.o.Ledger.FindExact(f.Kind, f.Name, f.Digest); ok && !custody.Reached(r.Custody, uploads.LevelStore) {
			a.mu.Lock()
			a.questions.Add(f, time.Now())
			a.mu.Unlock()
		}
	}
}

// next waits for the next file to ask about; false if there is reason to look
// again.
func (a *Asker) next(ctx context.Context) (custody.File, bool) {
	a.mu.Lock()
	f, ok := a.questions.Next(time.Now())
	due, some := a.questions.Due()
	a.mu.Unlock()
	if ok {
		return f, true
	}
	var timer <-chan time.Time
	if some {
		t := time.NewTimer(time.Until(due))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
	case <-a.wake:
	case <-timer:
	}
	return custody.File{}, false
}

// ask asks about one file and keeps what is new. Its error is the destination's
// or the ledger's.
func (a *Asker) ask(ctx context.Context, f custody.File) error {
	known, ok := a.o.Ledger.FindExact(f.Kind, f.Name, f.Digest)
	if !ok || custody.Reached(known.Custody, uploads.LevelStore) {
		a.settle(f, true)
		return nil
	}
	told, err := a.o.Teller.Reached(ctx, uploads.Upload{Kind: f.Kind, Name: f.Name, Digest: f.Digest})
	if errors.Is(err, uploads.ErrUnknown) {
		told, err = nil, nil // it answered; a lost file may come again
	}
	news := custody.News(known.Custody, told)
	if err == nil && len(news) > 0 {
		if err = a.o.Ledger.Learn(f.Kind, f.Name, f.Digest, news); err != nil {
			err = fmt.Errorf("keep what was learnt of %s/%s: %w", f.Kind, f.Name, err)
		}
	}
	a.count(len(news) > 0, err)
	a.settle(f, err == nil && custody.Reached(told, uploads.LevelStore))
	return err
}

func (a *Asker) count(learnt bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status.Asked++
	switch {
	case err != nil:
		a.status.Failures++
	case learnt:
		a.status.Learnt++
	}
}

// settle takes a file that was asked about off the list, or puts it back.
func (a *Asker) settle(f custody.File, done bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if done {
		a.questions.Done(f)
	} else {
		a.questions.Again(f, time.Now())
	}
}
