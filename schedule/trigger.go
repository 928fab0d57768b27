package schedule

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Type is a kind of trigger.
type Type int

// Once to Monthly go by the clock; the rest answer to something that happens,
// which the caller reports with [Plan.Fire].
const (
	TypeOnce Type = iota + 1
	TypeDaily
	TypeWeekly
	TypeMonthly
	TypeLogon   // somebody logged on
	TypeConnect // the network came back
	TypeNow     // the schedule was applied for the first time
	TypeStartup // the agent started
)

var typeNames = map[Type]struct{ bundle, wire string }{
	TypeOnce: {"once", "Once"}, TypeDaily: {"daily", "Daily"}, TypeWeekly: {"weekly", "Weekly"},
	TypeMonthly: {"monthly", "Monthly"}, TypeLogon: {"logon", "Logon"},
	TypeConnect: {"connect", "OnConnect"}, TypeNow: {"now", "Now"}, TypeStartup: {"startup", "Startup"},
}

// ParseType reads the spelling of bundle.yaml ("connect") or of a schedule
// document ("OnConnect"), in any case.
func ParseType(s string) (Type, error) {
	for t, n := range typeNames {
		if strings.EqualFold(s, n.bundle) || strings.EqualFold(s, n.wire) {
			return t, nil
		}
	}
	return 0, fmt.Errorf("type %q is not once, daily, weekly, monthly, logon, connect, now or startup", s)
}

// String returns the spelling of bundle.yaml.
func (t Type) String() string { return typeNames[t].bundle }

// Wire returns the spelling of a schedule document.
func (t Type) Wire() string { return typeNames[t].wire }

// Timed reports whether triggers of this type go by the clock.
func (t Type) Timed() bool { return t >= TypeOnce && t <= TypeMonthly }

// Bounds of what a trigger may ask for.
const (
	// MinRepeat keeps a slip of the pen from turning a fleet into a load
	// generator; a shorter one would serve nobody who polls.
	MinRepeat = time.Minute
	// MaxWindow is the longest random window.
	MaxWindow = day
	// maxFor bounds how far Next has to look back.
	maxFor = 31 * day
)

// A Trigger makes an event due: by the clock, or when something happens. The
// fields carry the names they have in bundle.yaml.
//
// Times of day are local. One that a clock change skips means the moment at
// which the clock has jumped; one that occurs twice counts once.
type Trigger struct {
	Type Type
	// At is the time of day of the first run.
	At Clock
	// Start is the first day; zero means any, except for once, which needs it.
	Start Date
	// Every is every so many days, weeks (that begin on Mondays) or months,
	// counted from Start, or from 2024-01-01 without one; zero means 1.
	Every int
	// Weekdays are the days of a weekly trigger; none means Start's, or Monday.
	Weekdays []time.Weekday
	// Days are the days of the month of a monthly trigger; none means Start's,
	// or the first. A month that lacks a day is passed over.
	Days []int
	// Repeat runs it again every so often, for less than For after the start:
	// 15m for 1h are four runs. Zero means one run.
	Repeat, For time.Duration
	// Window delays all of it by a part of itself, less than the whole, that is
	// the machine's own, always the same and evenly spread over a fleet.
	Window time.Duration
}

// Validate returns every mistake in t.
func (t Trigger) Validate() []Mistake {
	var out mistakes
	if typeNames[t.Type].bundle == "" {
		return append(out, Mistake{"type", "is missing or unknown"})
	}
	out.when(t.At < 0 || time.Duration(t.At) >= day || time.Duration(t.At)%time.Second != 0, "at",
		"must be a time of day in whole seconds, from 00:00 to 23:59:59")
	out.when(!t.Type.Timed() && t.At != 0, "at", "means nothing for type "+t.Type.String())
	out.when(t.Window < 0 || t.Window > MaxWindow, "window", "must be between 0 and 24h")
	t.validateDays(&out)
	t.validateRepeat(&out)
	if len(out) == 0 && t.Type.Timed() && t.local(time.UTC).Next(t.dayBefore()).IsZero() {
		out.when(true, "days", "never occur in the months that every and start leave")
	}
	return out
}

// dayBefore is a time before the first run there can be.
func (t Trigger) dayBefore() time.Time { return t.Start.orEpoch().wall().Add(-day) }

// maxEvery is the largest Every by type: about a year, five for months.
var maxEvery = map[Type]int{TypeDaily: 366, TypeWeekly: 53, TypeMonthly: 60}

func (t Trigger) validateDays(out *mistakes) {
	out.when(!t.Start.IsZero() && !t.Start.valid(), "start", "is not a date")
	out.when(t.Type == TypeOnce && t.Start.IsZero(), "start", "is missing: once needs the day")
	out.when(t.Every < 0, "every", "must not be negative")
	out.when(t.Every > 1 && maxEvery[t.Type] == 0, "every", "means nothing for type "+t.Type.String())
	out.when(maxEvery[t.Type] > 0 && t.Every > maxEvery[t.Type], "every",
		fmt.Sprintf("must not be above %d for type %s", maxEvery[t.Type], t.Type))
	out.when(len(t.Weekdays) > 0 && t.Type != TypeWeekly, "weekdays", "means nothing for type "+t.Type.String())
	out.when(len(t.Days) > 0 && t.Type != TypeMonthly, "days", "means nothing for type "+t.Type.String())
	out.when(slices.ContainsFunc(t.Weekdays, func(d time.Weekday) bool { return d < time.Sunday || d > time.Saturday }),
		"weekdays", "must be days of the week")
	out.when(slices.ContainsFunc(t.Days, func(d int) bool { return d < 1 || d > 31 }), "days", "must be between 1 and 31")
}

func (t Trigger) validateRepeat(out *mistakes) {
	out.when(t.Repeat < 0 || t.Repeat > 0 && t.Repeat < MinRepeat, "repeat", "must be at least 1m")
	out.when(t.Repeat > 0 && t.For <= 0, "for", "is missing: say for how long to repeat")
	out.when(t.Repeat > 0 && t.For > 0 && t.For < t.Repeat, "for", "is shorter than repeat")
	out.when(t.Repeat == 0 && t.For != 0, "repeat", "is missing: for alone means nothing")
	out.when(t.Repeat%time.Second != 0 || t.For%time.Second != 0, "repeat", "and for must be whole seconds")
	out.when(t.For > t.period(), "for", "reaches past the next start")
}

// period is the shortest time between two starts on one list of days.
func (t Trigger) period() time.Duration {
	switch t.Type {
	case TypeDaily:
		return min(time.Duration(max(t.Every, 1))*day, maxFor)
	case TypeWeekly:
		return 7 * day
	case TypeMonthly:
		return 28 * day
	default:
		return maxFor
	}
}
