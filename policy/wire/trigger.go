package wire

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"inventorybeacon/schedule"
)

// triggerAttrs returns the attributes of t. WEEKDAYS and DAYS are our own:
// how the incumbent spells them is not public.
func triggerAttrs(t schedule.Trigger) []string {
	attrs := []string{"TIMESTART", t.At.Wire()}
	if t.Repeat > 0 {
		attrs = append(attrs, "REPEAT", seconds(t.Repeat), "DURATION", seconds(t.For))
	}
	attrs = append(attrs, "TYPE", t.Type.Wire(), "TYPE_PARAM", typeParam(t), "TIMEWINDOW", seconds(t.Window))
	if !t.Start.IsZero() {
		attrs = append(attrs, "DATESTART", t.Start.Wire())
	}
	if len(t.Weekdays) > 0 {
		attrs = append(attrs, "WEEKDAYS", join(t.Weekdays))
	}
	if len(t.Days) > 0 {
		attrs = append(attrs, "DAYS", join(t.Days))
	}
	return attrs
}

// typeParam is every so many days, weeks or months, and for other types what
// the public examples have.
func typeParam(t schedule.Trigger) string {
	switch t.Type {
	case schedule.TypeDaily, schedule.TypeWeekly, schedule.TypeMonthly:
		return strconv.Itoa(max(t.Every, 1))
	case schedule.TypeNow:
		return "1"
	}
	return "0"
}

func join[N ~int](ns []N) string {
	out := make([]string, len(ns))
	for i, n := range ns {
		out[i] = strconv.Itoa(int(n))
	}
	return strings.Join(out, ",")
}

func readTrigger(e *element) (t schedule.Trigger, err error) {
	if t.Type, err = schedule.ParseType(e.attr("type")); err != nil {
		return t, err
	}
	if t.Repeat, err = readSeconds(e.attr("repeat")); err != nil {
		return t, err
	}
	if t.For, err = readSeconds(e.attr("duration")); err != nil {
		return t, err
	}
	if t.Window, err = readSeconds(e.attr("timewindow")); err != nil {
		return t, err
	}
	if t.Repeat == 0 {
		t.For = 0 // a duration without a repetition says nothing
	}
	if !t.Type.Timed() {
		return t, nil // a start says nothing for what answers to something that happens
	}
	return t, readStart(e, &t)
}

func readStart(e *element, t *schedule.Trigger) (err error) {
	if v := e.attr("timestart"); v != "" {
		if t.At, err = schedule.ParseWireClock(v); err != nil {
			return err
		}
	}
	if v := e.attr("datestart"); v != "" {
		if t.Start, err = schedule.ParseWireDate(v); err != nil {
			return err
		}
	}
	if t.Weekdays, err = split[time.Weekday](e.attr("weekdays")); err != nil {
		return err
	}
	if t.Days, err = split[int](e.attr("days")); err != nil {
		return err
	}
	if n, err := strconv.Atoi(e.attr("type_param")); err == nil && n > 1 && t.Type != schedule.TypeOnce {
		t.Every = n
	}
	return nil
}

func split[N ~int](s string) (ns []N, err error) {
	for part := range strings.SplitSeq(s, ",") {
		if s == "" {
			break
		}
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 0 || n > 31 {
			return nil, fmt.Errorf("%q is not a list of days", s)
		}
		ns = append(ns, N(n))
	}
	return ns, nil
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// maxSeconds bounds what a document may ask for, long before a duration overflows.
const maxSeconds = 10 * 366 * 24 * 3600

func readSeconds(v string) (time.Duration, error) {
	if v == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 || n > maxSeconds {
		return 0, fmt.Errorf("%q is not a number of seconds", v)
	}
	return time.Duration(n) * time.Second, nil
}
