package schedule

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Attributes are the attributes of a Trigger element in a schedule document
// (.nds), as text. Absent ones are empty.
type Attributes struct {
	Type      string // TYPE
	Param     string // TYPE_PARAM: every so many days, weeks or months
	TimeStart string // TIMESTART, hhmmss
	DateStart string // DATESTART, yyyymmdd
	Repeat    string // REPEAT, seconds
	Duration  string // DURATION, seconds
	Window    string // TIMEWINDOW, seconds
}

// Attributes returns the triggers of a schedule document that mean the same as
// t. A document has no list of days, so that a weekly trigger becomes one for
// each weekday, and a monthly one one for each day of the month, told by
// DATESTART. Type startup is our own: no document of the incumbent is known to
// have it. It wants a valid t.
func (t Trigger) Attributes() []Attributes {
	var out []Attributes
	for _, start := range t.firstDays() {
		a := Attributes{
			Type: t.Type.Wire(), Param: strconv.Itoa(max(t.Every, 1)),
			TimeStart: t.At.Wire(), DateStart: start.Wire(), Window: seconds(t.Window),
		}
		if t.Repeat > 0 {
			a.Repeat, a.Duration = seconds(t.Repeat), seconds(t.For)
		}
		out = append(out, a)
	}
	return out
}

// firstDays returns the first day, from Start on, of each day on t's list.
func (t Trigger) firstDays() []Date {
	var out []Date
	first := func(one Trigger) {
		one.At, one.Repeat, one.For = 0, 0, 0
		if at := one.local(time.UTC).Next(one.Start.orEpoch().wall().Add(-1)); !at.IsZero() {
			out = append(out, DateOf(at))
		}
	}
	switch {
	case len(t.Weekdays) > 0:
		for _, d := range t.Weekdays {
			one := t
			one.Weekdays = []time.Weekday{d}
			first(one)
		}
	case len(t.Days) > 0:
		for _, d := range t.Days {
			one := t
			one.Days = []int{d}
			first(one)
		}
	default:
		out = []Date{t.Start.orEpoch()}
	}
	return out
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// Trigger reads a trigger of a schedule document, or returns every mistake.
// What is absent is midnight, no window, every 1, no repetition.
func (a Attributes) Trigger() (Trigger, error) {
	r := attributeReader{}
	t := Trigger{
		Type: read(&r, "TYPE", a.Type, ParseType),
		At:   read(&r, "TIMESTART", a.TimeStart, ParseWireClock), Start: read(&r, "DATESTART", a.DateStart, ParseWireDate),
		Every:  read(&r, "TYPE_PARAM", a.Param, strconv.Atoi),
		Repeat: read(&r, "REPEAT", a.Repeat, parseSeconds), For: read(&r, "DURATION", a.Duration, parseSeconds),
		Window: read(&r, "TIMEWINDOW", a.Window, parseSeconds),
	}
	if len(r.wrong) == 0 {
		t = t.tidy()
		r.wrong = asErrors(t.Validate())
	}
	return t, errors.Join(r.wrong...)
}

// tidy drops what a document says that means nothing for its type.
func (t Trigger) tidy() Trigger {
	if t.Repeat == 0 || t.For == 0 {
		t.Repeat, t.For = 0, 0
	}
	if !t.Type.Timed() {
		t.At, t.Start = 0, Date{}
	}
	if maxEvery[t.Type] == 0 || t.Every == 1 {
		t.Every = 0
	}
	return t
}

type attributeReader struct{ wrong []error }

func read[T any](r *attributeReader, name, value string, parse func(string) (T, error)) T {
	value = strings.TrimSpace(value)
	if value == "" && name != "TYPE" {
		return *new(T)
	}
	v, err := parse(value)
	if err != nil {
		r.wrong = append(r.wrong, fmt.Errorf("%s: %w", name, err))
	}
	return v
}

func parseSeconds(s string) (time.Duration, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number of seconds", s)
	}
	return time.Duration(n) * time.Second, nil
}
