// Package schedule says when recurring work is due, and runs it then.
//
// A [Trigger] is data as an administrator writes it. Its time rule is a
// cron.Schedule whose Next depends on nothing but its argument; what differs
// between machines, the place in a random window, follows from the machine's
// name alone. A [Plan] joins events, their triggers and what is remembered of
// earlier runs; it is told what time it is and says what is due. Only [Loop]
// looks at a clock.
package schedule

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// An Event is a piece of work and the triggers that make it due.
type Event struct {
	// ID is what a machine remembers the event by, compared without regard to
	// case; [EventID] makes one from a name.
	ID   string
	Name string
	// Run names the work, for example "policy" or "inventory"; Args are its
	// arguments as one string. What they mean is the caller's.
	Run, Args string
	Triggers  []Trigger
	Catchup   Catchup
	// NeedsNetwork and Idle are conditions that [Loop.Ready] may look at: run
	// only when there is a network, or when nobody used the machine for Idle.
	NeedsNetwork bool
	Idle         time.Duration
}

// EventID returns the id of the event called name: a GUID in braces, the same
// on every machine and in every revision, whatever the case of name.
func EventID(name string) string {
	sum := sha256.Sum256([]byte("event\n" + strings.ToLower(name)))
	sum[6] = sum[6]&0x0f | 0x80 // RFC 9562 version 8: our own construction
	sum[8] = sum[8]&0x3f | 0x80
	h := hex.EncodeToString(sum[:16])
	return fmt.Sprintf("{%s-%s-%s-%s-%s}", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
}

// Daily returns an event that is due once a day, at a place in the window after
// at that is the machine's own, and that is made up for when it was missed. It
// is what a machine without a schedule goes by.
func Daily(name, run string, at Clock, window time.Duration) Event {
	return Event{
		ID: EventID(name), Name: name, Run: run, Catchup: Once,
		Triggers: []Trigger{{Type: TypeDaily, At: at, Window: window}},
	}
}

// key returns what the machine's place in the windows of e depends on.
func (e Event) key(device string) string {
	return strings.ToLower(device) + "\n" + strings.ToLower(e.ID)
}

// Validate returns every mistake in e; the fields of triggers are named like
// "triggers[1].at".
func (e Event) Validate() []Mistake {
	var out mistakes
	out.when(e.ID == "", "id", "is missing")
	out.when(e.Name == "", "event", "has no name")
	out.when(e.Run == "", "run", "is missing: say what the event does")
	out.when(len(e.Triggers) == 0, "triggers", "is empty: the event would never be due")
	out.when(e.Idle < 0 || e.Idle > day, "idle", "must be between 0 and 24h")
	for i, t := range e.Triggers {
		for _, m := range t.Validate() {
			out = append(out, Mistake{fmt.Sprintf("triggers[%d].%s", i, m.Field), m.Problem})
		}
	}
	return out
}

// Catchup says what becomes of a run that was missed, because the machine was
// off or asleep or the run before it took too long.
type Catchup int

const (
	// Never lets a missed run go.
	Never Catchup = iota
	// Once makes up for any number of missed runs with one.
	Once
)

// String returns "never" or "once".
func (c Catchup) String() string {
	if c == Once {
		return "once"
	}
	return "never"
}

// ParseCatchup reads "never" or "once", in any case; empty is never.
func ParseCatchup(s string) (Catchup, error) {
	switch strings.ToLower(s) {
	case "", "never":
		return Never, nil
	case "once":
		return Once, nil
	}
	return Never, fmt.Errorf("catchup %q is not never or once", s)
}

// A Mistake is one thing wrong with one field, named as in bundle.yaml.
type Mistake struct{ Field, Problem string }

func (m Mistake) Error() string { return m.Field + " " + m.Problem }

type mistakes []Mistake

func (m *mistakes) when(wrong bool, field, problem string) {
	if wrong {
		*m = append(*m, Mistake{field, problem})
	}
}
