package schedule

import (
	"fmt"
	"maps"
	"time"
)

// StateVersion is the format of [State] that this package writes.
const StateVersion = 1

// A State is what has to be remembered between runs of the program, as JSON.
type State struct {
	Version int `json:"version"`
	// Events is keyed by lower-cased event id.
	Events map[string]Memory `json:"events"`
}

// A Memory is what is remembered of one event. All times are UTC.
type Memory struct {
	// Rules identifies the triggers that Done counts for: what other triggers
	// would have made due is not a run that was missed.
	Rules string `json:"rules,omitempty"`
	// Done is the time up to which every due time is accounted for.
	Done time.Time `json:"done"`
	// Ran is when the event last started.
	Ran time.Time `json:"ran,omitzero"`
	// Makeup is when a missed run is to be made up for; zero if none was missed.
	Makeup time.Time `json:"makeup,omitzero"`
	// Applied says under which stamp the now triggers fired; empty if never.
	Applied string `json:"applied,omitempty"`
	// Fired holds what happened, by type of trigger, and is still to be answered.
	Fired map[string]Fired `json:"fired,omitempty"`
}

// A Fired is something that happened at At; what it makes due is accounted for
// up to Done.
type Fired struct {
	At   time.Time `json:"at"`
	Done time.Time `json:"done"`
}

func (f Fired) pending() bool { return f.Done.Before(f.At) }

func (s State) check() error {
	if s.Version > StateVersion {
		return fmt.Errorf("schedule state has version %d, this program knows %d: run the newer program", s.Version, StateVersion)
	}
	return nil
}

func (m Memory) clone() Memory {
	m.Fired = maps.Clone(m.Fired)
	return m
}

// Limits of what is made of time that does not run as it should.
const (
	// grace is how late a run may start and still count as on time. A shorter
	// one drops runs of a busy machine whose event says never; a longer one
	// runs them when a machine wakes up that slept over them.
	grace = 2 * time.Minute
	// makeupSpread is the longest wait before a missed run is made up for, so
	// that a site that gets its power back does not arrive all at once. A longer
	// one spreads better; a shorter one reaches machines that are on briefly.
	makeupSpread = 5 * time.Minute
	// maxStepBack is how far the clock may have been set back and everything
	// that was done still counts as done. A longer one leaves a machine idle for
	// as long; a shorter one runs again what has just run.
	maxStepBack = time.Hour
)

// settle brings m in line with a clock that may have been set back.
func (m *Memory) settle(now time.Time) {
	horizon := now.Add(maxStepBack)
	if m.Done.After(horizon) {
		m.Done = now
	}
	if m.Makeup.After(now.Add(makeupSpread)) {
		m.Makeup = now.Add(makeupSpread)
	}
	for kind, f := range m.Fired {
		switch {
		case !f.At.After(horizon):
		case f.pending():
			m.Fired[kind] = happened(now)
		default:
			delete(m.Fired, kind)
		}
	}
}

func happened(at time.Time) Fired { return Fired{At: at, Done: at.Add(-1)} }

// fire notes that something happened, unless it did before and that is still to
// be answered.
func (m *Memory) fire(kind Type, now time.Time) {
	if m.Fired[kind.String()].pending() {
		return
	}
	if m.Fired == nil {
		m.Fired = map[string]Fired{}
	}
	m.Fired[kind.String()] = happened(now)
}
