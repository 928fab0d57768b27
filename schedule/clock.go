package schedule

import (
	"cmp"
	"fmt"
	"time"
)

const day = 24 * time.Hour

// A Clock is a time of day on the wall, as the time since midnight.
type Clock time.Duration

// ParseClock reads "hh:mm" or "hh:mm:ss".
func ParseClock(s string) (Clock, error) { return parseClock(s, "15:04", "15:04:05") }

// ParseWireClock reads "hhmmss", the TIMESTART of a schedule document.
func ParseWireClock(s string) (Clock, error) { return parseClock(s, "150405") }

func parseClock(s string, layouts ...string) (Clock, error) {
	for _, layout := range layouts {
		t, err := time.Parse(layout, s)
		if err == nil && len(s) == len(layout) {
			return Clock(t.Sub(t.Truncate(day))), nil
		}
	}
	return 0, fmt.Errorf("%q is not a time of day such as %s", s, time.Time{}.Format(layouts[0]))
}

func (c Clock) on(layout string) string { return time.Time{}.Add(time.Duration(c)).Format(layout) }

// String returns "hh:mm", or "hh:mm:ss" if there are seconds.
func (c Clock) String() string {
	if time.Duration(c)%time.Minute != 0 {
		return c.on("15:04:05")
	}
	return c.on("15:04")
}

// Wire returns "hhmmss".
func (c Clock) Wire() string { return c.on("150405") }

// A Date is a day in the calendar; the zero Date is none.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// DateOf returns the date that t shows on its own wall.
func DateOf(t time.Time) Date {
	y, m, d := t.Date()
	return Date{y, m, d}
}

// ParseDate reads "yyyy-mm-dd".
func ParseDate(s string) (Date, error) { return parseDate(s, time.DateOnly) }

// ParseWireDate reads "yyyymmdd", the DATESTART of a schedule document.
func ParseWireDate(s string) (Date, error) { return parseDate(s, "20060102") }

func parseDate(s, layout string) (Date, error) {
	t, err := time.Parse(layout, s)
	if err != nil {
		return Date{}, fmt.Errorf("%q is not a date such as %s", s, epoch.wall().Format(layout))
	}
	return DateOf(t), nil
}

// String returns "yyyy-mm-dd", or nothing for the zero Date.
func (d Date) String() string { return d.format(time.DateOnly) }

// Wire returns "yyyymmdd", or nothing for the zero Date.
func (d Date) Wire() string { return d.format("20060102") }

func (d Date) format(layout string) string {
	if d.IsZero() {
		return ""
	}
	return d.wall().Format(layout)
}

// IsZero reports whether d is no date.
func (d Date) IsZero() bool { return d == Date{} }

// wall returns midnight of d on the fictitious clock of wall.go.
func (d Date) wall() time.Time { return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC) }

func (d Date) valid() bool { return d.Year > 1900 && d.Year < 9000 && DateOf(d.wall()) == d }

// epoch is where counting every so many days, weeks or months begins when a
// trigger has no start: a Monday, the first of a month and of a year.
var epoch = Date{2024, time.January, 1}

func (d Date) orEpoch() Date { return cmp.Or(d, epoch) }
