package pull

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"inventorybeacon/failover"
	"inventorybeacon/uploads"
)

// An Ask puts a request to one location. It calls answered as soon as the
// location has begun to answer: from then on it is no longer TryTimeout that
// bounds it but the transfer's progress.
type Ask[T any] func(ctx context.Context, at failover.Location, answered func()) (T, error)

// ErrNowhere means there is no location to ask.
var ErrNowhere = errors.New("no beacon is known: give --beacon URL")

// errTooLate is why a location that does not answer is given up.
var errTooLate = errors.New("it took too long to answer")

// Walk asks one location after another until one gives what is asked for. A
// location that fails is followed by the next at once; one that keeps silent is
// followed after its turn, and may still win. So the whole list has been asked
// within TryTimeout however many of its locations are dead.
//
// Report is told of every location that was asked in earnest: nil if it
// answered what was asked for. If none did, the error is an [Answers], within
// a RetryError if all of them asked for a rest.
func Walk[T any](ctx context.Context, list []failover.Location, ask Ask[T], report func(failover.Location, error)) (T, failover.Location, error) {
	w := &walk[T]{ask: ask, results: make(chan result[T], len(list))}
	walking, stop := context.WithCancel(ctx)
	defer stop()
	var failed Answers
	var zero T
	running := 0
	for next, turn := 0, turn(len(list)); next < len(list) || running > 0; {
		var expired <-chan time.Time
		if next < len(list) {
			w.start(walking, list[next])
			next, running = next+1, running+1
			if next < len(list) {
				expired = time.After(turn)
			}
		}
		select {
		case <-expired:
			continue
		case r := <-w.results:
			running--
			if r.err == nil {
				stop()
				w.drain(running)
				report(r.at, nil)
				return r.value, r.at, nil
			}
			if ctx.Err() != nil {
				w.drain(running)
				return zero, failover.Location{}, ctx.Err()
			}
			report(r.at, r.err)
			failed = append(failed, fmt.Errorf("%s: %w", r.at.Name, r.err))
		}
	}
	if len(failed) == 0 {
		return zero, failover.Location{}, ErrNowhere
	}
	return zero, failover.Location{}, together(failed)
}

// turn is how long a location has before the next one is asked too. The last of
// the list is left half of TryTimeout. A longer turn asks fewer locations at
// once; a shorter one loses less time on the dead.
func turn(n int) time.Duration { return min(5*time.Second, TryTimeout/2/time.Duration(max(n, 1))) }

type result[T any] struct {
	at    failover.Location
	value T
	err   error
}

// walk is one walk over the list.
type walk[T any] struct {
	ask     Ask[T]
	began   time.Time
	results chan result[T]
}

// start asks at, until it answers or the walk's time is up.
func (w *walk[T]) start(ctx context.Context, at failover.Location) {
	if w.began.IsZero() {
		w.began = time.Now()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(TryTimeout-time.Since(w.began), func() { cancel(errTooLate) })
	go func() {
		defer cancel(nil)
		defer late.Stop()
		v, err := w.ask(ctx, at, func() { late.Reset(TransferTimeout) })
		if err != nil && context.Cause(ctx) == errTooLate {
			err = errTooLate
		}
		w.results <- result[T]{at, v, err}
	}()
}

// drain waits for those that were asked too.
func (w *walk[T]) drain(n int) {
	for range n {
		<-w.results
	}
}

// Answers are what each location said when none gave what was asked for.
type Answers []error

// Error implements error, in one line.
func (a Answers) Error() string {
	words := make([]string, len(a))
	for i, err := range a {
		words[i] = err.Error()
	}
	return strings.Join(words, "; ")
}

// Unwrap makes errors.Is find what any of them said.
func (a Answers) Unwrap() []error { return a }

// Verdict reports whether err is the answer of beacons that were all reached
// and had nothing for us: asking again soon would change nothing.
func Verdict(err error) bool {
	all, ok := errors.AsType[Answers](err)
	if !ok {
		return false
	}
	for _, err := range all {
		if !errors.Is(err, ErrNoPolicy) && !errors.Is(err, ErrOlder) && !errors.Is(err, ErrPublisher) {
			return false
		}
	}
	return true
}

// together joins what the locations said. A rest is kept only if every one of
// them asked for it, and then the shortest.
func together(answers Answers) error {
	rests := 0
	shortest := time.Duration(1<<63 - 1)
	for i, err := range answers {
		if busy, ok := errors.AsType[*uploads.RetryError](err); ok {
			rests++
			shortest = min(shortest, busy.After)
			answers[i] = errors.New(err.Error()) // so that no single one speaks for all
		}
	}
	if rests < len(answers) {
		return answers
	}
	return &uploads.RetryError{After: shortest, Err: answers}
}
