// Package hours is about the hours of a day, on some days of the week, in which
// something may be done, by the wall clock of a place: a window that crosses
// midnight belongs to the day it begins on, and one that a clock change falls
// into is as much longer or shorter as the night is.
package hours

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Hours are windows of a week. The zero Hours are always open.
type Hours struct {
	windows []window
	zone    *time.Location
}

// A window is from one time of day to another, on some days.
type window struct {
	days     [7]bool // by [time.Weekday], on which it begins
	from, to int     // minutes; to is after from, and beyond 24:00 on the next day
}

// Parse reads windows such as "22:00-06:00", "mon-fri 18:00-24:00" or "sat,sun".
// None are always open. zone is where the clock hangs; nil means this machine's.
func Parse(texts []string, zone *time.Location) (Hours, error) {
	if zone == nil {
		zone = time.Local
	}
	h := Hours{zone: zone}
	for _, t := range texts {
		w, err := parse(t)
		if err != nil {
			return Hours{}, fmt.Errorf(`%q: %w; write for example "22:00-06:00", "mon-fri 18:00-24:00" or "sat,sun"`, t, err)
		}
		h.windows = append(h.windows, w)
	}
	return h, nil
}

func parse(text string) (w window, err error) {
	fields := strings.Fields(strings.ToLower(text))
	if len(fields) == 0 || len(fields) > 2 {
		return w, fmt.Errorf("no window of time")
	}
	w.days, w.to = [7]bool{true, true, true, true, true, true, true}, minutesADay
	if first := fields[0]; first[0] < '0' || first[0] > '9' {
		if w.days, err = parseDays(first); err != nil {
			return w, err
		}
		fields = fields[1:]
	}
	if len(fields) > 1 {
		return w, fmt.Errorf("%q is no day", fields[0])
	}
	if len(fields) == 1 {
		w.from, w.to, err = parseTimes(fields[0])
	}
	return w, err
}

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func parseDays(text string) (days [7]bool, err error) {
	for part := range strings.SplitSeq(text, ",") {
		first, last, span := strings.Cut(part, "-")
		if !span {
			last = first
		}
		from, to := slices.Index(dayNames, first), slices.Index(dayNames, last)
		if from < 0 || to < 0 {
			return days, fmt.Errorf("%q is no day", part)
		}
		for d := from; ; d = (d + 1) % 7 {
			if days[d] = true; d == to {
				break
			}
		}
	}
	return days, nil
}

const minutesADay = 24 * 60

func parseTimes(text string) (from, to int, err error) {
	first, last, span := strings.Cut(text, "-")
	if !span {
		return 0, 0, fmt.Errorf("%q is no span of time", text)
	}
	if from, err = parseTime(first); err != nil {
		return 0, 0, err
	}
	if to, err = parseTime(last); err != nil {
		return 0, 0, err
	}
	if from == minutesADay {
		return 0, 0, fmt.Errorf("nothing begins at 24:00")
	}
	if to <= from {
		to += minutesADay
	}
	return from, to, nil
}

func parseTime(text string) (int, error) {
	if text == "24:00" {
		return minutesADay, nil
	}
	t, err := time.Parse("15:04", text)
	if err != nil {
		return 0, fmt.Errorf("%q is no time of day", text)
	}
	return t.Hour()*60 + t.Minute(), nil
}

// At reports whether now is within the hours, and until when it stays so; zero
// for ever.
func (h Hours) At(now time.Time) (open bool, until time.Time) {
	if len(h.windows) == 0 {
		return true, time.Time{}
	}
	spans := h.around(now)
	for _, s := range spans {
		switch {
		case s.to.After(now) && !s.from.After(now): // the union of those that overlap
			open, until = true, later(until, s.to)
		case open && !s.from.After(until):
			until = later(until, s.to)
		case !open && s.from.After(now):
			return false, s.from
		}
	}
	if open && until.Sub(now) > 7*24*time.Hour {
		return true, time.Time{}
	}
	return open, until
}

type span struct{ from, to time.Time }

// around returns the windows that may hold now, and those of the week after, in
// the order in which they begin.
func (h Hours) around(now time.Time) (out []span) {
	y, m, d := now.In(h.zone).Date()
	for i := -1; i <= 8; i++ {
		day := time.Date(y, m, d+i, 12, 0, 0, 0, h.zone).Weekday()
		for _, w := range h.windows {
			if s := (span{h.clock(y, m, d+i, w.from), h.clock(y, m, d+i, w.to)}); w.days[day] && s.to.After(s.from) {
				out = append(out, s)
			}
		}
	}
	slices.SortFunc(out, func(a, b span) int { return a.from.Compare(b.from) })
	return out
}

func (h Hours) clock(y int, m time.Month, d, minutes int) time.Time {
	return time.Date(y, m, d, 0, minutes, 0, 0, h.zone)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
