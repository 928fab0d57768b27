package comeback_test

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"inventorybeacon/beacon/comeback"
)

// A fleet of agents calls after an outage, each with a file of every class,
// which it sends side by side and each when it is told to.
type fleet struct {
	schedule *comeback.Schedule
	places   int           // taken at once
	takes    time.Duration // each
	agenda   agenda
	now      time.Time
	start    time.Time
	rand     *rand.Rand

	inside   int
	arrivals map[int64]int // by second since the start
	done     [3][]time.Duration
	refusals map[comeback.Caller]int
}

type event struct {
	at   time.Time
	who  comeback.Caller
	done bool
}

type agenda []event

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a agenda) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(e any)        { *a = append(*a, e.(event)) }
func (a *agenda) Pop() any {
	old := *a
	e := old[len(old)-1]
	*a = old[:len(old)-1]
	return e
}

func (f *fleet) run() {
	for len(f.agenda) > 0 {
		e := heap.Pop(&f.agenda).(event)
		f.now = e.at
		if e.done {
			f.inside--
			f.schedule.Served(f.now)
			f.done[e.who.Class] = append(f.done[e.who.Class], f.now.Sub(f.start))
			continue
		}
		f.arrivals[int64(f.now.Sub(f.start)/time.Second)]++
		if wait := f.arrive(e.who); wait > 0 {
			f.refusals[e.who]++
			// On time, but for the way of the answer and of the next request.
			late := time.Duration(f.rand.Int64N(int64(300 * time.Millisecond)))
			heap.Push(&f.agenda, event{at: f.now.Add(wait + late), who: e.who})
			continue
		}
		f.inside++
		heap.Push(&f.agenda, event{at: f.now.Add(f.takes), who: e.who, done: true})
	}
}

func (f *fleet) arrive(c comeback.Caller) time.Duration {
	if wait, _ := f.schedule.Arrive(f.now, c, 2*f.inside >= f.places); wait > 0 {
		return wait
	}
	if f.inside >= f.places {
		f.schedule.Full(f.now)
		return f.schedule.Refuse(f.now, c, 0)
	}
	f.schedule.Admit(f.now, c)
	return 0
}

func TestFleetDrainsAfterOutage(t *testing.T) {
	for _, tt := range []struct {
		name   string
		agents int
		places int
		takes  time.Duration
		within time.Duration // agents call for the first time
	}{
		{"all call at once", 5_000, 50, time.Second, time.Second},
		{"all call within a minute", 20_000, 200, time.Second, time.Minute},
		{"as backoff spreads them", 5_000, 50, time.Second, 4 * time.Minute},
		{"the beacon is faster than expected", 5_000, 50, 200 * time.Millisecond, 5 * time.Second},
		{"the beacon is slower than expected", 5_000, 50, 2500 * time.Millisecond, 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fleet{
				schedule: comeback.New(float64(tt.places), 5000), places: tt.places, takes: tt.takes,
				start: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), rand: rand.New(rand.NewPCG(1, 2)),
				arrivals: map[int64]int{}, refusals: map[comeback.Caller]int{},
			}
			for i := range tt.agents {
				at := f.start.Add(time.Duration(f.rand.Int64N(int64(tt.within))))
				for _, c := range []comeback.Class{comeback.Logs, comeback.Usage, comeback.Inventory} {
					f.agenda = append(f.agenda, event{at: at, who: comeback.Caller{ID: uint64(i), Class: c}})
				}
			}
			heap.Init(&f.agenda)
			f.run()
			f.judge(t, 3*tt.agents, tt.within)
		})
	}
}

// most is when n of d files of each class had arrived.
func (f *fleet) most(n, d int) (at [3]time.Duration) {
	for c := range f.done {
		at[c] = slices.Sorted(slices.Values(f.done[c]))[len(f.done[c])*n/d]
	}
	return at
}

func (f *fleet) judge(t *testing.T, files int, calling time.Duration) {
	capacity := float64(f.places) / f.takes.Seconds()
	best := time.Duration(float64(files) / capacity * float64(time.Second))
	if sent := len(f.done[0]) + len(f.done[1]) + len(f.done[2]); sent != files {
		t.Fatalf("%d of %d files arrived", sent, files)
	}
	var last [3]time.Duration
	for c := range f.done {
		last[c] = slices.Max(f.done[c])
	}
	peak := 0
	for second, n := range f.arrivals {
		if second > int64(calling/time.Second)+5 { // who calls for the first time comes when it comes
			peak = max(peak, n)
		}
	}
	most := 0
	for _, n := range f.refusals {
		most = max(most, n)
	}
	t.Logf("capacity %.0f/s, best %v, inventory %v, usage %v, logs %v, peak %d/s, at most %d refusals", capacity, best, last[0], last[1], last[2], peak, most)
	if total := max(last[0], last[1], last[2]); total > max(best, calling)*5/4+45*time.Second {
		t.Errorf("drained in %v; %v is possible", total, best)
	}
	if most := f.most(9, 10); most[0] > most[1] || most[1] > most[2] || last[0] > last[1] || last[1] > last[2] {
		t.Errorf("inventory ended at %v, usage at %v, logs at %v; nine in ten at %v", last[0], last[1], last[2], most)
	}
	if float64(peak) > 4*max(capacity, float64(f.places)) { // until it is measured, what is expected counts
		t.Errorf("%d arrivals in one second", peak)
	}
	if most > 16 {
		t.Errorf("one was turned away %d times", most)
	}
}
