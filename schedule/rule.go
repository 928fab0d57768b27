package schedule

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule returns when t is due on the machine that key stands for, in loc
// (nil means the machine's own zone). Its Next returns the first due time after
// its argument, or the zero time if there is none; a trigger that does not go
// by the clock has none. It is an error if t is not valid.
func (t Trigger) Schedule(key string, loc *time.Location) (cron.Schedule, error) {
	if wrong := t.Validate(); len(wrong) > 0 {
		return nil, errors.Join(asErrors(wrong)...)
	}
	if !t.Type.Timed() {
		return none{}, nil
	}
	if loc == nil {
		loc = time.Local
	}
	return spread{t.local(loc), Place(key, t.Window)}, nil
}

// after returns when t is due given that what it answers to happened at fired:
// then, and again as often as it repeats.
func (t Trigger) after(fired time.Time, key string) cron.Schedule {
	if fired.IsZero() {
		return none{}
	}
	from := fired.UTC()
	return spread{local{series{once(from), t.Repeat, t.For}, time.UTC}, Place(key, t.Window)}
}

func asErrors(ms []Mistake) []error {
	out := make([]error, len(ms))
	for i, m := range ms {
		out[i] = m
	}
	return out
}

// Place returns the place in window, from 0 to less than window, of the machine
// that key stands for: the same every time, and evenly spread over many keys.
func Place(key string, window time.Duration) time.Duration {
	sum := sha256.Sum256([]byte(key))
	place, _ := bits.Mul64(binary.BigEndian.Uint64(sum[:]), uint64(max(window, 0)))
	return time.Duration(place).Truncate(time.Millisecond)
}

// local returns t's rule in loc, without the window. It wants a valid t.
func (t Trigger) local(loc *time.Location) local {
	start := t.Start.orEpoch()
	rule := days{start: t.Start.wall(), anchor: start, every: max(t.Every, 1), unit: t.Type}
	switch t.Type {
	case TypeOnce:
		return local{series{once(t.Start.wall().Add(time.Duration(t.At))), t.Repeat, t.For}, loc}
	case TypeWeekly:
		wanted := t.Weekdays
		if len(wanted) == 0 {
			wanted = []time.Weekday{start.wall().Weekday()}
		}
		rule.spec = mustParse(t.At, "*", join(wanted))
	case TypeMonthly:
		wanted := t.Days
		if len(wanted) == 0 {
			wanted = []int{start.Day}
		}
		rule.spec = mustParse(t.At, join(wanted), "*")
	default:
		rule.spec = mustParse(t.At, "*", "*")
	}
	return local{series{rule, t.Repeat, t.For}, loc}
}

func join[N ~int](ns []N) string {
	out := make([]string, len(ns))
	for i, n := range slices.Sorted(slices.Values(ns)) {
		out[i] = strconv.Itoa(int(n))
	}
	return strings.Join(out, ",")
}

func mustParse(at Clock, dom, dow string) cron.Schedule {
	d := time.Duration(at)
	spec, err := parse(fmt.Sprintf("%d %d %d %s * %s",
		d/time.Second%60, d/time.Minute%60, d/time.Hour, dom, dow))
	if err != nil {
		panic(err) // Validate let it pass
	}
	return spec
}

// parse is the only way to cron's parser, which panics on some input.
func parse(spec string) (s cron.Schedule, err error) {
	defer func() {
		if r := recover(); r != nil {
			s, err = nil, fmt.Errorf("cron expression %q: %v", spec, r)
		}
	}()
	if strings.Contains(spec, "TZ=") {
		return nil, fmt.Errorf("cron expression %q: names a time zone", spec)
	}
	s, err = cron.NewParser(cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(spec)
	if err != nil {
		return nil, fmt.Errorf("cron expression %q: %w", spec, err)
	}
	if at, ok := s.(*cron.SpecSchedule); ok {
		at.Location = time.UTC // the fictitious clock of wall.go
	}
	return s, nil
}

type none struct{}

func (none) Next(time.Time) time.Time { return time.Time{} }

// once is due at one time.
type once time.Time

func (o once) Next(t time.Time) time.Time {
	if at := time.Time(o); at.After(t) {
		return at
	}
	return time.Time{}
}

// days is due when spec is, on the days that every leaves, from start on. It
// and spec go by the fictitious clock.
type days struct {
	spec   cron.Schedule
	start  time.Time
	anchor Date
	every  int
	unit   Type
}

// searchYears is how far ahead days looks: every pattern of days, months and
// leap years that ever matches does so within it, but for some that fall on
// 29 February only.
const searchYears = 10

func (d days) Next(t time.Time) time.Time {
	if t.Before(d.start) {
		t = d.start.Add(-time.Second)
	}
	for limit := t.AddDate(searchYears, 0, 0); ; {
		t = d.spec.Next(t)
		if t.IsZero() || t.After(limit) {
			return time.Time{}
		}
		if d.counts(DateOf(t)) {
			return t
		}
	}
}

func (d days) counts(on Date) bool {
	var n int
	switch d.unit {
	case TypeWeekly:
		n = monday(on) - monday(d.anchor)
	case TypeMonthly:
		n = (on.Year-d.anchor.Year)*12 + int(on.Month) - int(d.anchor.Month)
	default:
		n = number(on) - number(d.anchor)
	}
	if d.unit == TypeWeekly {
		n /= 7
	}
	return n%d.every == 0
}

// number counts days, monday gives the number of the Monday of on's week.
func number(on Date) int { return int(on.wall().Unix() / (24 * 60 * 60)) }

func monday(on Date) int { return number(on) - (int(on.wall().Weekday())+6)%7 }

// series is due when starts is, and every step after each of its times for less
// than length.
type series struct {
	starts cron.Schedule
	step   time.Duration
	length time.Duration
}

func (s series) Next(t time.Time) time.Time {
	if s.step <= 0 {
		return s.starts.Next(t)
	}
	best := time.Time{}
	for start := s.starts.Next(t.Add(-s.length)); !start.IsZero(); start = s.starts.Next(start) {
		at := start
		if !start.After(t) {
			at = start.Add((t.Sub(start)/s.step + 1) * s.step)
		}
		if at.Sub(start) < s.length && (best.IsZero() || at.Before(best)) {
			best = at
		}
		if start.After(t) {
			break
		}
	}
	return best
}

// local turns a rule on the fictitious clock into instants.
type local struct {
	rule cron.Schedule
	loc  *time.Location
}

func (l local) Next(t time.Time) time.Time {
	for w := l.rule.Next(wallOf(t, l.loc)); !w.IsZero(); w = l.rule.Next(w) {
		if at := instant(w, l.loc); at.After(t) {
			return at
		}
	}
	return time.Time{}
}

// spread delays every time of s by the same.
type spread struct {
	s  cron.Schedule
	by time.Duration
}

func (s spread) Next(t time.Time) time.Time {
	next := s.s.Next(t.Add(-s.by))
	if next.IsZero() {
		return next
	}
	return next.Add(s.by)
}
