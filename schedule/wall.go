package schedule

import "time"

// Rules are worked out on a fictitious clock that shows what a clock on the
// wall would but never jumps: a time.Time in UTC whose reading is meant to be
// local. A local instant is made of it at the very end, in one place, so that
// no rule needs to know about clock changes.

// maxOffset is more than any zone was ever away from UTC (local mean time in
// Manila before 1844: 15 h 56 min).
const maxOffset = 16 * time.Hour

// wallOf returns what the wall shows at t in loc.
func wallOf(t time.Time, loc *time.Location) time.Time {
	t = t.In(loc)
	_, offset := t.Zone()
	return t.Add(time.Duration(offset) * time.Second).UTC()
}

// instant returns the first instant at which the wall in loc shows w or later.
// So a reading that occurs twice means its first time, and one that is skipped
// the moment at which the clock has jumped over it. It never decreases as w grows.
func instant(w time.Time, loc *time.Location) time.Time {
	at := w.Add(-maxOffset).In(loc)
	for {
		_, offset := at.Zone()
		_, end := at.ZoneBounds()
		t := w.Add(-time.Duration(offset) * time.Second)
		if t.Before(at) {
			t = at // the clock jumped past w here
		}
		if end.IsZero() || t.Before(end) {
			return t.In(loc)
		}
		at = end
	}
}
