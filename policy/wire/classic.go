package wire

import (
	"fmt"
	"slices"
	"time"

	"inventorybeacon/schedule"
)

// Classic returns what of s an old agent can be told, and what was left out.
//
// Public facts give one command, PolicyClient/Apply, triggers of five types,
// and one value of CATCHUP. An old agent that met a guessed one might refuse
// the schedule as a whole and stop polling, so nothing is guessed at it.
func Classic(s Schedule) (classic Schedule, left []string) {
	classic = Schedule{Name: s.Name, Created: s.Created}
	for _, e := range s.Events {
		kept, without := classicEvent(e, s.Created)
		left = append(left, without...)
		if len(kept.Triggers) > 0 {
			classic.Events = append(classic.Events, kept)
		}
	}
	return classic, left
}

var classicTypes = []schedule.Type{
	schedule.TypeOnce, schedule.TypeDaily, schedule.TypeLogon, schedule.TypeConnect, schedule.TypeNow,
}

func classicEvent(e schedule.Event, created time.Time) (kept schedule.Event, left []string) {
	kept = e
	kept.Triggers, kept.Catchup, kept.NeedsNetwork, kept.Idle = nil, schedule.Never, false, 0
	if e.Run != "policy" {
		return kept, []string{fmt.Sprintf("event %q is left out for old agents: how they run %q is not public", e.Name, e.Run)}
	}
	for _, t := range e.Triggers {
		if !slices.Contains(classicTypes, t.Type) {
			left = append(left, fmt.Sprintf("event %q: its %s trigger is left out for old agents: how they spell it is not public", e.Name, t.Type))
			continue
		}
		kept.Triggers = append(kept.Triggers, classicStart(t, created))
	}
	if e.Catchup == schedule.Once {
		left = append(left, fmt.Sprintf("event %q: old agents are not told to catch up on a missed run: how is not public", e.Name))
	}
	return kept, left
}

// classicStart gives t the first day that every public example has: one that
// lies in no time zone's future, and on which our own agent would count too.
func classicStart(t schedule.Trigger, created time.Time) schedule.Trigger {
	switch {
	case !t.Start.IsZero():
	case t.Every > 1:
		t.Start = schedule.Date{Year: 2024, Month: time.January, Day: 1}
	default:
		t.Start = schedule.DateOf(created.UTC().AddDate(0, 0, -1))
	}
	return t
}
