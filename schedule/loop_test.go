package schedule

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// ticking returns an event that is due every step, all day.
func ticking(step time.Duration, c Catchup) Event {
	return event("tick", c, Trigger{Type: TypeDaily, Repeat: step, For: day})
}

// start runs a loop for d of the bubble's time and returns when its events ran.
func start(t *testing.T, d time.Duration, do func(context.Context, Run) error, set func(*Loop)) []time.Duration {
	t.Helper()
	p, err := NewPlan("ws0042", time.UTC, State{})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var mu sync.Mutex
	var ran []time.Duration
	l := NewLoop(p, func(ctx context.Context, r Run) error {
		mu.Lock()
		ran = append(ran, time.Since(began))
		mu.Unlock()
		return do(ctx, r)
	})
	set(l)
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := l.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run: %v", err)
	}
	return ran
}

func nothing(context.Context, Run) error { return nil }

func apply(t *testing.T, events ...Event) func(*Loop) {
	return func(l *Loop) {
		if err := l.Apply(events, ""); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLoopRunsOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := start(t, 59*time.Minute, nothing, apply(t, ticking(20*time.Minute, Never)))
		if want := []time.Duration{20 * time.Minute, 40 * time.Minute}; !slices.Equal(got, want) {
			t.Errorf("ran at %v, want %v", got, want)
		}
	})
}

func TestLoopDoesNotPileUp(t *testing.T) {
	for c, want := range map[Catchup][]time.Duration{
		Once:  {10 * time.Minute, 35 * time.Minute},
		Never: {10 * time.Minute, 40 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			var at atomic.Int32
			got := start(t, 59*time.Minute, func(context.Context, Run) error {
				if at.Add(1) > 1 {
					t.Error("overlaps itself")
				}
				time.Sleep(25 * time.Minute)
				at.Add(-1)
				return nil
			}, apply(t, ticking(10*time.Minute, c)))
			if !slices.Equal(got, want) {
				t.Errorf("catchup %v: ran at %v, want %v", c, got, want)
			}
		})
	}
}

// A slow event does not hold up another, and a panic ends nobody else.
func TestLoopKeepsEventsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := event("slow", Never, Trigger{Type: TypeStartup})
		runs := start(t, 59*time.Minute, func(ctx context.Context, r Run) error {
			if r.Event.Name == "slow" {
				<-ctx.Done()
				return ctx.Err()
			}
			panic("broken")
		}, func(l *Loop) {
			apply(t, slow, ticking(20*time.Minute, Never))(l)
			l.Fire(TypeStartup)
		})
		if len(runs) != 3 {
			t.Errorf("ran at %v, want the slow one and two others", runs)
		}
	})
}

func TestLoopAnswersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := start(t, time.Hour, nothing, func(l *Loop) {
			apply(t, event("e", Never, Trigger{Type: TypeConnect}))(l)
			time.AfterFunc(7*time.Second, func() { l.Fire(TypeConnect) })
		})
		if want := []time.Duration{7 * time.Second}; !slices.Equal(got, want) {
			t.Errorf("ran at %v, want %v", got, want)
		}
	})
}

// A machine that sleeps: its timers stand still, its clock has gone on.
func TestLoopSeesThatTheMachineSlept(t *testing.T) {
	for c, want := range map[Catchup]int{Once: 1, Never: 0} {
		synctest.Test(t, func(t *testing.T) {
			var asleep atomic.Int64
			got := start(t, 2*time.Minute, nothing, func(l *Loop) {
				l.now = func() time.Time { return wallNow().Add(time.Duration(asleep.Load())) }
				apply(t, event("e", c, at(3)))(l)
				time.AfterFunc(time.Minute, func() { asleep.Store(int64(8 * time.Hour)) })
			})
			if len(got) != want || want == 1 && got[0] > time.Minute+maxSleep {
				t.Errorf("catchup %v: ran at %v, want %d within %v of the minute", c, got, want, maxSleep)
			}
		})
	}
}

func TestLoopWaitsUntilAnEventIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		got := start(t, 3*time.Hour, nothing, func(l *Loop) {
			l.Ready = func(e Event) bool { return !e.NeedsNetwork || time.Since(began) > 90*time.Minute }
			once, never := event("once", Once, Trigger{Type: TypeDaily, At: Clock(time.Hour)}), event("never", Never, Trigger{Type: TypeDaily, At: Clock(time.Hour)})
			once.NeedsNetwork, never.NeedsNetwork = true, true
			apply(t, once, never)(l)
		})
		if len(got) != 1 || got[0] < 90*time.Minute || got[0] > 90*time.Minute+2*maxSleep {
			t.Errorf("ran at %v, want one run at 90m", got)
		}
	})
}

// The state is saved before an event starts, so that one that ends the process
// is not started again by the next.
func TestLoopSavesBeforeItStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var saved State
		e := event("e", Once, at(3))
		start(t, 4*time.Hour, func(context.Context, Run) error {
			if ran := saved.Events[e.ID].Ran; !ran.Equal(wallNow()) {
				t.Errorf("saved %v, started %v", ran, wallNow())
			}
			return nil
		}, func(l *Loop) {
			l.Save = func(s State) error { saved = s; return nil }
			apply(t, e)(l)
		})
		if saved.Events[e.ID].Ran.IsZero() {
			t.Error("it never ran")
		}
	})
}

func TestLoopGoesOnWhenTheStateCannotBeSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := start(t, 4*time.Hour, nothing, func(l *Loop) {
			l.Save = func(State) error { return errors.New("disk full") }
			apply(t, event("e", Once, at(3)))(l)
		})
		if len(got) != 1 {
			t.Errorf("ran at %v, want once", got)
		}
	})
}
