package schedule

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A bench runs a plan minute by minute and notes what ran when.
type bench struct {
	t    testing.TB
	plan *Plan
	now  time.Time
	ran  []string
}

func newBench(t testing.TB, at string, events ...Event) *bench {
	t.Helper()
	p, err := NewPlan("ws0042", time.UTC, State{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, plan: p}
	b.set(at)
	b.apply("", events...)
	return b
}

func (b *bench) set(at string) {
	b.t.Helper()
	now, err := time.Parse("2006-01-02 15:04", at)
	if err != nil {
		b.t.Fatal(err)
	}
	b.now = now
}

func (b *bench) apply(stamp string, events ...Event) {
	b.t.Helper()
	if err := b.plan.Apply(events, stamp, b.now); err != nil {
		b.t.Fatal(err)
	}
}

// until runs the machine until at; every event is over at once.
func (b *bench) until(at string) {
	b.t.Helper()
	from := b.now
	b.set(at)
	for to := b.now; !from.After(to); from = from.Add(30 * time.Second) {
		b.now = from
		b.runDue()
	}
}

func (b *bench) runDue() {
	for _, r := range b.plan.Due(b.now) {
		b.plan.Start(r.Event.ID, b.now)
		b.plan.Finish(r.Event.ID)
		note := b.now.Format("02 15:04") + " " + r.Event.Name
		if r.Missed {
			note += " missed"
		}
		b.ran = append(b.ran, note)
	}
}

func (b *bench) want(want ...string) {
	b.t.Helper()
	if !slices.Equal(b.ran, want) {
		b.t.Errorf("ran\n%q, want\n%q", b.ran, want)
	}
	b.ran = nil
}

// restart has the plan start again from what was remembered.
func (b *bench) restart(stamp string, events ...Event) {
	b.t.Helper()
	text, err := json.Marshal(b.plan.State())
	if err != nil {
		b.t.Fatal(err)
	}
	var s State
	if err := json.Unmarshal(text, &s); err != nil {
		b.t.Fatal(err)
	}
	if b.plan, err = NewPlan("ws0042", time.UTC, s); err != nil {
		b.t.Fatal(err)
	}
	b.apply(stamp, events...)
}

func event(name string, c Catchup, triggers ...Trigger) Event {
	return Event{ID: EventID(name), Name: name, Run: "inventory", Catchup: c, Triggers: triggers}
}

func at(h int) Trigger { return Trigger{Type: TypeDaily, At: Clock(h) * Clock(time.Hour)} }

func TestPlanRunsWhatIsDueOnce(t *testing.T) {
	b := newBench(t, "2026-01-05 00:00", event("early", Never, at(3)), event("late", Never, at(20), at(3)))
	b.until("2026-01-06 12:00")
	b.want("05 03:00 early", "05 03:00 late", "05 20:00 late", "06 03:00 early", "06 03:00 late")
}

func TestPlanCatchesUp(t *testing.T) {
	for _, c := range []struct {
		name    string
		catchup Catchup
		want    []string
	}{
		{"never: a missed run is let go", Never, []string{"09 03:00 e"}},
		{"once: any number of missed runs are one", Once, []string{"08 10:00 e missed", "09 03:00 e"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := event("e", c.catchup, at(3))
			b := newBench(t, "2026-01-05 10:00", e)
			b.set("2026-01-08 10:00") // asleep for three days
			b.until("2026-01-09 12:00")
			b.want(c.want...)
		})
		t.Run(c.name+", across a restart", func(t *testing.T) {
			e := event("e", c.catchup, at(3))
			b := newBench(t, "2026-01-05 10:00", e)
			b.set("2026-01-08 10:00")
			b.restart("", e)
			b.until("2026-01-09 12:00")
			b.want(c.want...)
		})
	}
}

func TestPlanRunsLateWithinGrace(t *testing.T) {
	b := newBench(t, "2026-01-05 02:00", event("e", Never, at(3)))
	b.now = b.now.Add(time.Hour + grace)
	b.runDue()
	b.want("05 03:02 e")
}

// A fleet that gets its power back does not make up for everything in one second.
func TestPlanSpreadsWhatItMakesUpFor(t *testing.T) {
	e := event("e", Once, Trigger{Type: TypeDaily, Window: 6 * time.Hour})
	var waits []time.Duration
	for i := range 200 {
		p, err := NewPlan(fmt.Sprintf("ws%04d", i), time.UTC, State{})
		if err != nil {
			t.Fatal(err)
		}
		off := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
		on := off.AddDate(0, 0, 3).Add(30 * time.Minute)
		if err := p.Apply([]Event{e}, "", off); err != nil {
			t.Fatal(err)
		}
		now := on
		for len(p.Due(now)) == 0 {
			next := p.Next(now)
			if !next.After(now) || next.Sub(on) > makeupSpread {
				t.Fatalf("device %d: next %v after %v", i, next, on)
			}
			now = next
		}
		waits = append(waits, now.Sub(on))
	}
	slices.Sort(waits)
	if waits[20] > makeupSpread/5 || waits[180] < makeupSpread*4/5 {
		t.Errorf("waits at a tenth and nine tenths: %v, %v of %v", waits[20], waits[180], makeupSpread)
	}
}

func TestPlanMissesNothingBeforeItKnewOfIt(t *testing.T) {
	b := newBench(t, "2026-01-05 12:00", event("e", Once, at(3)))
	b.until("2026-01-06 13:00")
	b.want("06 03:00 e")
	b.apply("", event("e", Once, at(10))) // moved to a time that is past today
	b.until("2026-01-07 11:00")
	b.want("07 10:00 e")
}

func TestNowFiresOnceForEachSchedule(t *testing.T) {
	e := event("e", Never, Trigger{Type: TypeNow}, at(3))
	b := newBench(t, "2026-01-05 12:00")
	b.apply("20260105T093000Z", e)
	b.until("2026-01-05 13:00")
	b.want("05 12:00 e")

	b.apply("20260105T093000Z", e)
	b.until("2026-01-05 14:00")
	b.restart("20260105T093000Z", e)
	b.until("2026-01-05 15:00")
	b.want() // the same schedule again, and after a restart

	b.apply("20260106T093000Z", e)
	b.until("2026-01-05 16:00")
	b.want("05 15:00 e")
}

func TestNowThatWasNotAnsweredOutlivesARestart(t *testing.T) {
	e := event("e", Never, Trigger{Type: TypeNow})
	b := newBench(t, "2026-01-05 12:00", e)
	b.set("2026-01-08 12:00")
	b.restart("", e)
	b.until("2026-01-08 13:00")
	b.want("08 12:00 e")
}

func TestPlanAnswersWhatHappens(t *testing.T) {
	connect := event("connect", Never, Trigger{Type: TypeConnect, Repeat: 10 * time.Minute, For: 30 * time.Minute})
	logon := event("logon", Never, Trigger{Type: TypeLogon}, at(12))
	b := newBench(t, "2026-01-05 09:00", connect, logon)
	b.until("2026-01-05 10:00")
	b.want()
	b.plan.Fire(TypeConnect, b.now)
	b.until("2026-01-05 11:00")
	b.want("05 10:00 connect", "05 10:10 connect", "05 10:20 connect")
	for range 20 { // a network that comes and goes every 30 s
		b.plan.Fire(TypeLogon, b.now)
		b.runDue()
		b.now = b.now.Add(30 * time.Second)
	}
	if len(b.ran) != 10 {
		t.Errorf("%d runs in ten minutes, want 10: %q", len(b.ran), b.ran)
	}
}

func TestPlanNeverOverlaps(t *testing.T) {
	for c, want := range map[Catchup]string{Once: "03:00 03:25", Never: "03:00 03:30"} {
		e := event("e", c, Trigger{Type: TypeDaily, At: Clock(3 * time.Hour), Repeat: 10 * time.Minute, For: 40 * time.Minute})
		b := newBench(t, "2026-01-05 02:00", e)
		var ran []string
		busy := time.Time{}
		for ; b.now.Hour() < 4; b.now = b.now.Add(30 * time.Second) {
			if !busy.IsZero() && !b.now.Before(busy) {
				b.plan.Finish(e.ID)
				busy = time.Time{}
			}
			for range b.plan.Due(b.now) {
				if !b.plan.Start(e.ID, b.now) {
					t.Fatal("due while it runs")
				}
				if b.plan.Start(e.ID, b.now) {
					t.Fatal("started twice")
				}
				ran, busy = append(ran, b.now.Format("15:04")), b.now.Add(25*time.Minute)
			}
		}
		if got := strings.Join(ran[:2], " "); got != want {
			t.Errorf("catchup %v: ran at %q, want %s first", c, ran, want)
		}
	}
}

func TestPlanSurvivesAClockThatJumps(t *testing.T) {
	e := event("e", Once, at(3))
	t.Run("set back a little: what is done stays done", func(t *testing.T) {
		b := newBench(t, "2026-01-05 02:00", e)
		b.until("2026-01-05 03:10")
		b.want("05 03:00 e")
		b.set("2026-01-05 02:30")
		b.until("2026-01-06 04:00")
		b.want("06 03:00 e")
	})
	t.Run("set back a little, and run for another reason", func(t *testing.T) {
		b := newBench(t, "2026-01-05 02:00", event("e", Once, at(3), Trigger{Type: TypeConnect}))
		b.until("2026-01-05 03:10")
		b.want("05 03:00 e")
		b.set("2026-01-05 02:30")
		b.plan.Fire(TypeConnect, b.now)
		b.until("2026-01-06 04:00")
		b.want("05 02:30 e", "06 03:00 e")
	})
	t.Run("set back while a run is to be made up for", func(t *testing.T) {
		b := newBench(t, "2026-01-05 12:00", event("e", Once, Trigger{Type: TypeDaily, Window: time.Hour}))
		b.set("2026-01-09 12:00")
		b.runDue()
		b.want() // put off by a little
		b.set("2026-01-07 12:00")
		b.until("2026-01-07 12:06")
		if len(b.ran) != 1 {
			t.Errorf("ran %q, want one run within %v", b.ran, makeupSpread)
		}
	})
	t.Run("far ahead and back: it goes on from here", func(t *testing.T) {
		b := newBench(t, "2026-01-05 12:00", e, event("now", Never, Trigger{Type: TypeConnect, Window: time.Hour}))
		b.set("2099-01-01 00:00")
		b.plan.Fire(TypeConnect, b.now)
		b.runDue()
		b.want("01 00:00 e missed")
		b.set("2026-01-05 13:00")
		b.until("2026-01-06 04:00")
		if len(b.ran) != 2 || !strings.HasPrefix(b.ran[0], "05 13:") || b.ran[1] != "06 03:00 e" {
			t.Errorf("ran %q", b.ran)
		}
	})
	t.Run("forward over a run, without catch-up", func(t *testing.T) {
		b := newBench(t, "2026-01-05 02:00", event("e", Never, at(3)))
		b.set("2026-01-05 09:00")
		b.until("2026-01-06 04:00")
		b.want("06 03:00 e")
	})
}

func TestPlanRefusesABadSchedule(t *testing.T) {
	good := event("good", Never, at(3))
	b := newBench(t, "2026-01-05 00:00", good)
	bad := event("bad", Never, Trigger{Type: TypeDaily, At: -1, Window: -1})
	err := b.plan.Apply([]Event{good, good, bad}, "", b.now)
	for _, want := range []string{`"good": id`, "triggers[0].at", "triggers[0].window"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in %v", want, err)
		}
	}
	b.until("2026-01-05 04:00")
	b.want("05 03:00 good") // the one before is still in force
}

func TestPlanRefusesANewerState(t *testing.T) {
	if _, err := NewPlan("d", time.UTC, State{Version: StateVersion + 1}); err == nil {
		t.Error("a newer state was taken")
	}
	if _, err := NewPlan("d", time.UTC, State{Version: StateVersion}); err != nil {
		t.Error(err)
	}
}

// Whatever the clock does, work goes on within a day, no slot is run more than
// once for each time that the clock shows it, and what Next promises Due keeps.
func TestPlanNeverStopsOrFloods(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		e := event("e", Catchup(rapid.IntRange(0, 1).Draw(rt, "catchup")), at(3), at(15))
		p, err := NewPlan("d", time.UTC, State{})
		if err != nil {
			rt.Fatal(err)
		}
		now := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
		if err := p.Apply([]Event{e}, "", now); err != nil {
			rt.Fatal(err)
		}
		for range rapid.IntRange(1, 20).Draw(rt, "jumps") {
			now = now.Add(time.Duration(rapid.IntRange(-72*60, 72*60).Draw(rt, "minutes")) * time.Minute)
			runs := 0
			for end := now.Add(26 * time.Hour); now.Before(end); {
				for range p.Due(now) {
					runs++
					p.Start(e.ID, now)
					p.Finish(e.ID)
				}
				next := p.Next(now)
				if !next.After(now) {
					rt.Fatalf("at %v next is %v and nothing is due", now, next)
				}
				now = next
			}
			if runs < 1 || runs > 4 {
				rt.Fatalf("%d runs in 26 hours", runs)
			}
		}
	})
}
