package schedule

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// A Run is an event whose time has come.
type Run struct {
	Event Event
	// At is when it was due.
	At time.Time
	// Missed says that it makes up for one or more runs that did not happen.
	Missed bool
}

// A Plan knows which events are due when. It looks at no clock and is not safe
// for concurrent use; a [Loop] is both.
//
// A due time leads to one run at most, and an event never runs twice at once:
// what becomes due while it runs counts as missed.
type Plan struct {
	device  string
	loc     *time.Location
	entries []entry
	memory  map[string]Memory
	running map[string]bool
}

type entry struct {
	id     string
	event  Event
	rules  string
	timed  []cron.Schedule
	window time.Duration // the widest of the timed triggers
}

// NewPlan returns a Plan without events that remembers s. The device is the name
// that its places in random windows depend on, loc its time zone (nil means the
// machine's own). It is an error if s was written by a newer program.
func NewPlan(device string, loc *time.Location, s State) (*Plan, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	p := &Plan{device: device, loc: loc, memory: map[string]Memory{}, running: map[string]bool{}}
	for id, m := range s.Events {
		p.memory[strings.ToLower(id)] = m.clone()
	}
	return p, nil
}

// Apply puts events in the place of those before, or returns every mistake in
// them and changes nothing. What is known of events that stay is kept; an event
// that is new, or whose triggers changed, has missed nothing before now.
//
// The stamp identifies what is applied, as the TIMEDATESTAMP of a schedule
// does: a now trigger fires once for each id and stamp, however often that is
// applied and the program restarted. An empty stamp means once for each id.
func (p *Plan) Apply(events []Event, stamp string, now time.Time) error {
	entries, err := p.compile(events)
	if err != nil {
		return err
	}
	kept := map[string]Memory{}
	for _, e := range entries {
		m, known := p.memory[e.id]
		if !known || m.Rules != e.rules {
			m.Rules, m.Done, m.Makeup = e.rules, now.UTC(), time.Time{}
		}
		maps.DeleteFunc(m.Fired, func(kind string, _ Fired) bool { return !e.event.answers(kind) })
		if applied := "applied " + stamp; e.event.answers(TypeNow.String()) && m.Applied != applied {
			m.Applied = applied
			m.fire(TypeNow, now.UTC())
		}
		kept[e.id] = m
	}
	p.entries, p.memory = entries, kept
	return nil
}

func (p *Plan) compile(events []Event) ([]entry, error) {
	var out []entry
	var wrong []error
	seen := map[string]bool{}
	for _, ev := range events {
		e := entry{id: strings.ToLower(ev.ID), event: ev}
		mistakes := ev.Validate()
		if seen[e.id] {
			mistakes = append(mistakes, Mistake{"id", ev.ID + " is taken by another event"})
		}
		seen[e.id] = true
		for _, m := range mistakes {
			wrong = append(wrong, fmt.Errorf("event %q: %w", ev.Name, m))
		}
		if len(mistakes) == 0 {
			wrong = append(wrong, p.addTimes(&e))
		}
		out = append(out, e)
	}
	return out, errors.Join(wrong...)
}

// addTimes compiles the triggers of e that go by the clock.
func (p *Plan) addTimes(e *entry) error {
	sum := sha256.New()
	for _, t := range e.event.Triggers {
		if !t.Type.Timed() {
			continue
		}
		s, err := t.Schedule(e.event.key(p.device), p.loc)
		if err != nil {
			return fmt.Errorf("event %q: %w", e.event.Name, err)
		}
		fmt.Fprintf(sum, "%+v\n", t)
		e.timed = append(e.timed, s)
		e.window = max(e.window, t.Window)
	}
	e.rules = hex.EncodeToString(sum.Sum(nil)[:8])
	return nil
}

func (e Event) answers(kind string) bool {
	return slices.ContainsFunc(e.Triggers, func(t Trigger) bool { return !t.Type.Timed() && t.Type.String() == kind })
}

// Fire says that what triggers of this type answer to has happened: somebody
// logged on, the network came back, the agent started. (Apply fires the now
// triggers.) What happens again before it is answered is answered once.
func (p *Plan) Fire(kind Type, now time.Time) {
	for _, e := range p.entries {
		if e.event.answers(kind.String()) {
			m := p.memory[e.id]
			m.fire(kind, now.UTC())
			p.memory[e.id] = m
		}
	}
}

// Due returns the runs whose time has come, longest due first, without those of
// events that are running. A run stays due until [Plan.Start], or, if the event
// does not catch up, until it is too late for it.
func (p *Plan) Due(now time.Time) []Run {
	var out []Run
	for _, e := range p.entries {
		if p.running[e.id] {
			continue
		}
		m := p.memory[e.id]
		m.settle(now.UTC())
		p.miss(e, &m, now.UTC())
		p.memory[e.id] = m
		if at, missed := p.next(e, m, now); !at.IsZero() && !at.After(now) {
			out = append(out, Run{e.event, at, missed})
		}
	}
	slices.SortStableFunc(out, func(a, b Run) int { return a.At.Compare(b.At) })
	return out
}

// miss notes what the clock has passed over: it is let go, or put off a little.
func (p *Plan) miss(e entry, m *Memory, now time.Time) {
	at := e.nextTimed(m.Done)
	switch {
	case at.IsZero() || now.Sub(at) <= grace:
		m.Makeup = time.Time{}
	case e.event.Catchup == Never:
		m.Done = now.Add(-grace - 1)
	case m.Makeup.IsZero():
		m.Makeup = now.Add(Place(e.event.key(p.device), min(e.window, makeupSpread)))
	}
}

// next returns when e is next due by m, zero if never, and whether that makes
// up for something.
func (p *Plan) next(e entry, m Memory, now time.Time) (time.Time, bool) {
	at, missed := e.nextTimed(m.Done), !m.Makeup.IsZero()
	if missed {
		at = m.Makeup
	}
	if fired := p.nextFired(e, m, now); !fired.IsZero() && (at.IsZero() || fired.Before(at)) {
		return fired, false
	}
	return at, missed
}

func (e entry) nextTimed(after time.Time) time.Time {
	best := time.Time{}
	for _, s := range e.timed {
		best = earlier(best, s.Next(after))
	}
	return best
}

// nextFired is like nextTimed for what happened. Answers to things that happen
// in bursts, like a network that comes and goes, keep MinRepeat apart.
func (p *Plan) nextFired(e entry, m Memory, now time.Time) time.Time {
	best := time.Time{}
	for _, t := range e.event.Triggers {
		if f, ok := m.Fired[t.Type.String()]; ok {
			best = earlier(best, t.after(f.At, e.event.key(p.device)).Next(f.Done))
		}
	}
	if gap := m.Ran.Add(MinRepeat); !best.IsZero() && !m.Ran.IsZero() && !m.Ran.After(now) && best.Before(gap) {
		return gap
	}
	return best
}

// earlier returns the earlier of two times of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Start says that the event starts at now; everything that was due by then is
// accounted for. It reports whether the event is known and was not running.
func (p *Plan) Start(id string, now time.Time) bool {
	id, now = strings.ToLower(id), now.UTC()
	i := slices.IndexFunc(p.entries, func(e entry) bool { return e.id == id })
	if i < 0 || p.running[id] {
		return false
	}
	p.running[id] = true
	m := p.memory[id]
	m.Done, m.Ran, m.Makeup = later(m.Done, now), now, time.Time{}
	for _, t := range p.entries[i].event.Triggers {
		p.answer(t, &m, p.entries[i].event.key(p.device), now)
	}
	p.memory[id] = m
	return true
}

// later keeps what is done done when the clock was set back a little.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// answer counts what t was to answer as answered up to now.
func (p *Plan) answer(t Trigger, m *Memory, key string, now time.Time) {
	kind := t.Type.String()
	f, ok := m.Fired[kind]
	if !ok {
		return
	}
	rule := t.after(f.At, key)
	if first := rule.Next(f.Done); first.After(now) {
		return // the event started for another reason before this was due
	}
	f.Done = later(now, f.At)
	if rule.Next(f.Done).IsZero() {
		delete(m.Fired, kind)
		return
	}
	m.Fired[kind] = f
}

// Finish says that the event is over.
func (p *Plan) Finish(id string) { delete(p.running, strings.ToLower(id)) }

// Next returns when Due has something new to say, or the zero time if that
// depends on what happens.
func (p *Plan) Next(now time.Time) time.Time {
	best := time.Time{}
	for _, u := range p.Upcoming(now) {
		if !u.Running {
			best = earlier(best, u.At)
		}
	}
	return best
}

// An Upcoming is what is known of one event, for people.
type Upcoming struct {
	Event   Event
	At      time.Time // when it is next due; zero if nothing makes it due
	Ran     time.Time // when it last started; zero if never
	Running bool
}

// Upcoming returns what is ahead, soonest first.
func (p *Plan) Upcoming(now time.Time) []Upcoming {
	out := make([]Upcoming, 0, len(p.entries))
	for _, e := range p.entries {
		m := p.memory[e.id].clone()
		m.settle(now.UTC())
		at, _ := p.next(e, m, now)
		out = append(out, Upcoming{e.event, at, m.Ran, p.running[e.id]})
	}
	slices.SortStableFunc(out, func(a, b Upcoming) int {
		return cmp.Or(compareBool(a.At.IsZero(), b.At.IsZero()), a.At.Compare(b.At))
	})
	return out
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// State returns what to remember.
func (p *Plan) State() State {
	s := State{Version: StateVersion, Events: map[string]Memory{}}
	for id, m := range p.memory {
		s.Events[id] = m.clone()
	}
	return s
}
