package schedule

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// maxSleep is the longest the loop sleeps. Timers stand still while a machine
// sleeps and know nothing of a clock that is set, so the wall clock is looked
// at this often: how late an event can be after either. A shorter one costs
// wake-ups of idle machines.
const maxSleep = 30 * time.Second

// A Loop runs the events of a plan when they are due, each in a goroutine of its
// own and never twice at once. Its methods may be called from anywhere; the
// exported fields are set before Run.
type Loop struct {
	// Ready reports whether an event that is due may start now; one that may
	// not is asked about again. By default every one may.
	Ready func(Event) bool
	// Save stores the state durably. It is called before an event starts, so
	// that one that ends the process is not started over and over.
	Save func(State) error
	Log  *slog.Logger

	do      func(context.Context, Run) error
	now     func() time.Time // the time of day; tests set it to show a sleep
	poke    chan struct{}
	running sync.WaitGroup

	mu   sync.Mutex
	plan *Plan
}

// NewLoop returns a Loop that does what plan says by calling do. The plan is
// the loop's from here on.
func NewLoop(plan *Plan, do func(context.Context, Run) error) *Loop {
	return &Loop{
		Ready: func(Event) bool { return true },
		Save:  func(State) error { return nil },
		Log:   slog.New(slog.DiscardHandler),
		do:    do, now: wallNow, plan: plan, poke: make(chan struct{}, 1),
	}
}

// Apply is [Plan.Apply], now.
func (l *Loop) Apply(events []Event, stamp string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.plan.Apply(events, stamp, l.now()); err != nil {
		return fmt.Errorf("apply schedule: %w", err)
	}
	l.changed()
	return nil
}

// Fire is [Plan.Fire], now.
func (l *Loop) Fire(kind Type) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.plan.Fire(kind, l.now())
	l.changed()
}

// State is [Plan.State].
func (l *Loop) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.plan.State()
}

// Upcoming is [Plan.Upcoming], now.
func (l *Loop) Upcoming() []Upcoming {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.plan.Upcoming(l.now())
}

// Run starts events when they are due until ctx is done, waits for those that
// are running and returns ctx's error.
func (l *Loop) Run(ctx context.Context) error {
	defer l.running.Wait()
	for ctx.Err() == nil {
		timer := time.NewTimer(l.step(ctx))
		select {
		case <-ctx.Done():
		case <-l.poke:
		case <-timer.C:
		}
		timer.Stop()
	}
	return ctx.Err()
}

// step starts what is due and returns how long to sleep.
func (l *Loop) step(ctx context.Context) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.now()
	for _, run := range l.plan.Due(at) {
		if l.Ready(run.Event) && l.plan.Start(run.Event.ID, at) {
			l.save()
			l.running.Go(func() { l.run(ctx, run) })
		}
	}
	next := l.plan.Next(at)
	if d := next.Sub(at); !next.IsZero() && d > 0 {
		return min(d, maxSleep)
	}
	return maxSleep
}

func (l *Loop) run(ctx context.Context, run Run) {
	began := time.Now()
	err := l.guard(ctx, run)
	level := slog.LevelInfo
	if err != nil {
		level = slog.LevelWarn
	}
	l.Log.LogAttrs(ctx, level, "event ran", slog.String("event", run.Event.Name), slog.Time("due", run.At),
		slog.Bool("missed", run.Missed), slog.Duration("took", time.Since(began)), slog.Any("err", err))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.plan.Finish(run.Event.ID)
	l.wake()
}

// guard makes an error of a panic: one broken event must not end the others.
func (l *Loop) guard(ctx context.Context, run Run) (err error) {
	defer func() {
		if r := recover(); r != nil {
			l.Log.Error("event panicked", slog.String("event", run.Event.Name),
				slog.Any("panic", r), slog.String("stack", string(debug.Stack())))
			err = fmt.Errorf("run event %q: panic: %v", run.Event.Name, r)
		}
	}()
	return l.do(ctx, run)
}

// changed saves what is new and has Run look at it.
func (l *Loop) changed() {
	l.save()
	l.wake()
}

func (l *Loop) wake() {
	select {
	case l.poke <- struct{}{}:
	default:
	}
}

func (l *Loop) save() {
	if err := l.Save(l.plan.State()); err != nil {
		l.Log.Warn("schedule state not saved", slog.Any("err", err))
	}
}

// wallNow is the time of day, without the monotonic reading that would hide a
// sleep or a clock that was set.
func wallNow() time.Time { return time.Now().Round(0) }
