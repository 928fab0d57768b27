package schedule

import (
	"fmt"
	"math"
	"testing"
	"time"
	_ "time/tzdata"

	"pgregory.net/rapid"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func clock(t testing.TB, s string) Clock {
	t.Helper()
	c, err := ParseClock(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func date(t testing.TB, s string) Date {
	t.Helper()
	d, err := ParseDate(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// times returns the first n due times of tr after from, as the wall shows them.
func times(t *testing.T, tr Trigger, from string, zoneName string, n int) []string {
	t.Helper()
	loc := zone(t, zoneName)
	s, err := tr.Schedule("key", loc)
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.ParseInLocation("2006-01-02 15:04:05", from, loc)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for range n {
		at = s.Next(at)
		if at.IsZero() {
			return append(out, "never")
		}
		out = append(out, at.In(loc).Format("Mon 01-02 15:04 MST"))
	}
	return out
}

func TestTriggerIsDue(t *testing.T) {
	const utc = "UTC"
	at := func(s string) Clock { return clock(t, s) }
	for _, c := range []struct {
		name, from, zone string
		trigger          Trigger
		want             []string
	}{
		{"daily", "2026-01-05 00:05:00", utc, Trigger{Type: TypeDaily, At: at("00:05")},
			[]string{"Tue 01-06 00:05 UTC", "Wed 01-07 00:05 UTC"}},
		{"every third day from a start", "2026-01-01 00:00:00", utc,
			Trigger{Type: TypeDaily, At: at("06:00"), Every: 3, Start: date(t, "2026-01-30")},
			[]string{"Fri 01-30 06:00 UTC", "Mon 02-02 06:00 UTC", "Thu 02-05 06:00 UTC"}},
		{"twice a day", "2026-01-05 00:00:00", utc,
			Trigger{Type: TypeDaily, At: at("00:05"), Repeat: 12 * time.Hour, For: day},
			[]string{"Mon 01-05 00:05 UTC", "Mon 01-05 12:05 UTC", "Tue 01-06 00:05 UTC"}},
		{"every 15 minutes for 60", "2026-01-05 12:00:00", utc,
			Trigger{Type: TypeDaily, At: at("23:30"), Repeat: 15 * time.Minute, For: time.Hour},
			[]string{"Mon 01-05 23:30 UTC", "Mon 01-05 23:45 UTC", "Tue 01-06 00:00 UTC", "Tue 01-06 00:15 UTC", "Tue 01-06 23:30 UTC"}},
		{"weekly on Mondays by default", "2026-01-05 00:00:00", utc, Trigger{Type: TypeWeekly},
			[]string{"Mon 01-12 00:00 UTC"}},
		{"weekly on the start's weekday", "2026-01-05 00:00:00", utc,
			Trigger{Type: TypeWeekly, Start: date(t, "2026-01-07")}, []string{"Wed 01-07 00:00 UTC", "Wed 01-14 00:00 UTC"}},
		{"every other week, Sunday ends a week", "2026-01-05 00:00:00", utc,
			Trigger{Type: TypeWeekly, Every: 2, Start: date(t, "2026-01-05"), Weekdays: []time.Weekday{time.Sunday, time.Tuesday}},
			[]string{"Tue 01-06 00:00 UTC", "Sun 01-11 00:00 UTC", "Tue 01-20 00:00 UTC", "Sun 01-25 00:00 UTC"}},
		{"monthly, months without the day are passed over", "2026-01-05 00:00:00", utc,
			Trigger{Type: TypeMonthly, Days: []int{31, 1}},
			[]string{"Sat 01-31 00:00 UTC", "Sun 02-01 00:00 UTC", "Sun 03-01 00:00 UTC", "Tue 03-31 00:00 UTC"}},
		{"29 February only", "2026-01-05 00:00:00", utc,
			Trigger{Type: TypeMonthly, Days: []int{29}, Every: 12, Start: date(t, "2026-02-01")},
			[]string{"Tue 02-29 00:00 UTC"}},
		{"once", "2026-01-05 00:00:00", utc, Trigger{Type: TypeOnce, At: at("10:00"), Start: date(t, "2026-01-06")},
			[]string{"Tue 01-06 10:00 UTC", "never"}},
		{"once, when it is over", "2026-01-06 10:00:00", utc,
			Trigger{Type: TypeOnce, At: at("10:00"), Start: date(t, "2026-01-06")}, []string{"never"}},
		{"connect goes by no clock", "2026-01-05 00:00:00", utc, Trigger{Type: TypeConnect}, []string{"never"}},

		{"a skipped time means the end of the gap", "2026-03-07 12:00:00", "America/New_York",
			Trigger{Type: TypeDaily, At: at("02:30")},
			[]string{"Sun 03-08 03:00 EDT", "Mon 03-09 02:30 EDT"}},
		{"a repeated time counts once", "2026-10-31 12:00:00", "America/New_York",
			Trigger{Type: TypeDaily, At: at("01:30")},
			[]string{"Sun 11-01 01:30 EDT", "Mon 11-02 01:30 EST"}},
		{"asked between the two, it is tomorrow's turn", "2026-11-01 01:45:00", "America/New_York",
			Trigger{Type: TypeDaily, At: at("01:30")}, []string{"Mon 11-02 01:30 EST"}},
		{"no midnight in Beirut", "2026-03-28 12:00:00", "Asia/Beirut",
			Trigger{Type: TypeDaily}, []string{"Sun 03-29 01:00 EEST", "Mon 03-30 00:00 EEST"}},
		{"no midnight in Cairo", "2026-04-23 12:00:00", "Africa/Cairo",
			Trigger{Type: TypeDaily}, []string{"Fri 04-24 01:00 EEST", "Sat 04-25 00:00 EEST"}},
		{"no midnight in Sao Paulo", "2018-11-03 12:00:00", "America/Sao_Paulo",
			Trigger{Type: TypeDaily}, []string{"Sun 11-04 01:00 -02", "Mon 11-05 00:00 -02"}},
		{"half an hour in Lord Howe", "2026-10-03 23:00:00", "Australia/Lord_Howe",
			Trigger{Type: TypeDaily, Repeat: 4 * time.Hour, For: day},
			[]string{"Sun 10-04 00:00 +1030", "Sun 10-04 04:00 +11", "Sun 10-04 08:00 +11"}},
		{"half an hour lost in Lord Howe", "2026-10-03 12:00:00", "Australia/Lord_Howe",
			Trigger{Type: TypeDaily, At: at("02:15")}, []string{"Sun 10-04 02:30 +11", "Mon 10-05 02:15 +11"}},
		{"several slots in one gap are one run", "2026-03-08 01:40:00", "America/New_York",
			Trigger{Type: TypeDaily, Repeat: 15 * time.Minute, For: day},
			[]string{"Sun 03-08 01:45 EST", "Sun 03-08 03:00 EDT", "Sun 03-08 03:15 EDT"}},
		{"twice a day stays at its times of day", "2026-03-08 00:00:00", "America/New_York",
			Trigger{Type: TypeDaily, At: at("00:05"), Repeat: 12 * time.Hour, For: day},
			[]string{"Sun 03-08 00:05 EST", "Sun 03-08 12:05 EDT", "Mon 03-09 00:05 EDT"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := times(t, c.trigger, c.from, c.zone, len(c.want))
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("due at\n%q, want\n%q", got, c.want)
			}
		})
	}
}

// Every local date has exactly one run, whatever its clock did on that day.
func TestDailyRunsOnceOnEachLocalDate(t *testing.T) {
	zones := map[string]int{
		"America/New_York": 2026, "Asia/Beirut": 2026, "Africa/Cairo": 2026, "America/Sao_Paulo": 2018,
		"Australia/Lord_Howe": 2026, "America/Havana": 2026, "Europe/Berlin": 2026, "UTC": 2026,
		"Africa/Casablanca": 2026, "Antarctica/Troll": 2026, "Asia/Kathmandu": 2026,
	}
	for name, year := range zones {
		for at := Clock(0); at < Clock(day); at += Clock(15 * time.Minute) {
			loc := zone(t, name)
			s, err := Trigger{Type: TypeDaily, At: at}.Schedule("", loc)
			if err != nil {
				t.Fatal(err)
			}
			now := s.Next(time.Date(year-1, 12, 31, 23, 59, 59, 0, loc))
			for want := (Date{year, 1, 1}); want.Year == year; want = DateOf(want.wall().AddDate(0, 0, 1)) {
				if got := DateOf(now.In(loc)); got != want {
					t.Fatalf("%s at %s: ran on %s, want %s", name, at, got, want)
				}
				now = s.Next(now)
			}
		}
	}
}

func drawTrigger(t *rapid.T) Trigger {
	second := time.Second
	tr := Trigger{
		Type:   rapid.SampledFrom([]Type{TypeOnce, TypeDaily, TypeWeekly, TypeMonthly}).Draw(t, "type"),
		At:     Clock(second * time.Duration(rapid.IntRange(0, 24*60*60-1).Draw(t, "at"))),
		Window: second * time.Duration(rapid.IntRange(0, 24*60*60).Draw(t, "window")),
		Every:  rapid.IntRange(0, 5).Draw(t, "every"),
		Start:  rapid.SampledFrom([]Date{{2026, 2, 28}, {2026, 10, 4}, {2025, 12, 31}}).Draw(t, "start"),
	}
	switch tr.Type {
	case TypeOnce:
		tr.Every = 0
	case TypeWeekly:
		for _, d := range rapid.SliceOfNDistinct(rapid.IntRange(0, 6), 0, 7, rapid.ID).Draw(t, "weekdays") {
			tr.Weekdays = append(tr.Weekdays, time.Weekday(d))
		}
	case TypeMonthly:
		tr.Days = rapid.SliceOfNDistinct(rapid.IntRange(1, 28), 1, 5, rapid.ID).Draw(t, "days")
	}
	if rapid.Bool().Draw(t, "repeats") {
		tr.Repeat = time.Duration(rapid.IntRange(1, 600).Draw(t, "repeat")) * time.Minute
		tr.For = min(tr.Repeat*time.Duration(rapid.IntRange(1, 40).Draw(t, "times")), day)
	}
	return tr
}

var drawZone = rapid.SampledFrom([]string{"UTC", "America/New_York", "Asia/Beirut", "Africa/Cairo",
	"America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia", "Antarctica/Troll"})

// Next is strictly after its argument, skips nothing on the way, and depends on
// nothing but its argument.
func TestNextIsTheFirstAfter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		loc := zone(t, drawZone.Draw(rt, "zone"))
		s, err := drawTrigger(rt).Schedule("some device", loc)
		if err != nil {
			rt.Fatal(err)
		}
		now := time.Unix(rapid.Int64Range(1.29e9, 1.83e9).Draw(rt, "now"), rapid.Int64Range(0, 999999999).Draw(rt, "ns"))
		next := s.Next(now)
		if next.IsZero() {
			return
		}
		if !next.After(now) {
			rt.Fatalf("Next(%v) = %v", now, next)
		}
		between := now.Add(time.Duration(rapid.Int64Range(0, int64(next.Sub(now))-1).Draw(rt, "between")))
		if again := s.Next(between); !again.Equal(next) {
			rt.Fatalf("Next(%v) = %v, but Next(%v) = %v", now, next, between, again)
		}
	})
}

// A window delays by the same part of itself every time, less than the whole.
func TestWindowDelaysByLessThanItself(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		loc := zone(t, drawZone.Draw(rt, "zone"))
		with := drawTrigger(rt)
		without := with
		without.Window = 0
		key := rapid.String().Draw(rt, "key")
		a, err := with.Schedule(key, loc)
		if err != nil {
			rt.Fatal(err)
		}
		b, err := without.Schedule(key, loc)
		if err != nil {
			rt.Fatal(err)
		}
		at := time.Unix(rapid.Int64Range(1.29e9, 1.83e9).Draw(rt, "now"), 0)
		place := Place(key, with.Window)
		if place < 0 || place >= max(with.Window, 1) {
			rt.Fatalf("place %v in a window of %v", place, with.Window)
		}
		if x, y := a.Next(at.Add(place)), b.Next(at); !y.IsZero() && x.Sub(y) != place {
			rt.Fatalf("delayed by %v, want %v", x.Sub(y), place)
		}
	})
}

// 100,000 devices spread evenly over an hour: chi-square over its 60 minutes,
// also for names that differ in a digit only, and for one device's many events.
func TestPlacesAreEvenlySpread(t *testing.T) {
	const n, bins = 100_000, 60
	keys := map[string]func(i int) string{
		"devices": func(i int) string { return Event{ID: "{e}"}.key(fmt.Sprintf("ws%05d", i)) },
		"events":  func(i int) string { return Event{ID: EventID(fmt.Sprint(i))}.key("ws00001") },
	}
	for name, key := range keys {
		var count [bins]int
		for i := range n {
			count[Place(key(i), time.Hour)/(time.Hour/bins)]++
		}
		chi := 0.0
		for _, c := range count {
			chi += math.Pow(float64(c)-float64(n)/bins, 2) / (float64(n) / bins)
		}
		// 59 degrees of freedom: p = 0.999 between 28 and 98.3.
		if chi > 98.3 || chi < 28 {
			t.Errorf("%s: chi-square %.1f, want between 28 and 98.3", name, chi)
		}
		t.Logf("%s: chi-square %.1f with %d degrees of freedom", name, chi, bins-1)
	}
}

// The twin of the test above: it sees a spread that is not even.
func TestChiSquareSeesAPoorSpread(t *testing.T) {
	const n, bins = 100_000, 60
	var count [bins]int
	for i := range n {
		count[int(float64(bins)*math.Pow(float64(i)/n, 1.05))]++
	}
	chi := 0.0
	for _, c := range count {
		chi += math.Pow(float64(c)-float64(n)/bins, 2) / (float64(n) / bins)
	}
	if chi < 98.3 {
		t.Errorf("a skew of a twentieth gives chi-square %.1f only", chi)
	}
}

func TestPlaceIsStable(t *testing.T) {
	e := Event{ID: EventID("Generate Inventory")}
	if a, b := Place(e.key("WS0042"), time.Hour), Place(e.key("ws0042"), time.Hour); a != b || a == 0 {
		t.Errorf("places %v and %v of one device", a, b)
	}
	const want = "{954c9f00-60bd-8508-bb19-31a474eced18}" // machines remember it: must never change
	for _, name := range []string{"Generate Inventory", "generate inventory"} {
		if got := EventID(name); got != want {
			t.Errorf("id %s, want %s", got, want)
		}
	}
}

// The parser behind the rules panics on these; it is asked through parse only.
func TestParseDoesNotPanic(t *testing.T) {
	for _, spec := range []string{"TZ=UTC", "TZ=", "CRON_TZ=", "TZ=0", "", "* * *", "0 0 0 * * 9"} {
		if _, err := parse(spec); err == nil {
			t.Errorf("%q was taken", spec)
		}
	}
	if _, err := parse("0 30 2 * * *"); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("0 30 2 * * *")
	f.Add("TZ=UTC")
	f.Add("0 0 0 30 2 *")
	f.Fuzz(func(t *testing.T, spec string) {
		s, err := parse(spec)
		if err != nil {
			return
		}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		if next := s.Next(now); !next.IsZero() && !next.After(now) {
			t.Errorf("%q: Next = %v", spec, next)
		}
	})
}

func FuzzNext(f *testing.F) {
	f.Add(int64(1772953200), int32(9000), int32(900), int32(3600), uint8(1), uint8(2))
	f.Fuzz(func(t *testing.T, sec int64, at, repeat, window int32, typ, every uint8) {
		tr := Trigger{
			Type: Type(typ%4) + TypeOnce, At: Clock(at) * Clock(time.Second), Start: Date{2026, 3, 8}, Every: int(every),
			Repeat: time.Duration(repeat) * time.Second, For: time.Duration(repeat) * 3 * time.Second,
			Window: time.Duration(window) * time.Second,
		}
		s, err := tr.Schedule("ws0042", zone(t, "America/New_York"))
		if err != nil {
			if len(tr.Validate()) == 0 {
				t.Fatal(err)
			}
			return
		}
		now := time.Unix(sec%8e9, 0)
		if next := s.Next(now); !next.IsZero() && !next.After(now) {
			t.Errorf("Next(%v) = %v", now, next)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	s, err := Trigger{Type: TypeDaily, Repeat: 15 * time.Minute, For: day}.Schedule("ws0042", zone(b, "America/New_York"))
	if err != nil {
		b.Fatal(err)
	}
	now := time.Date(2026, 3, 8, 1, 50, 0, 0, time.UTC)
	for b.Loop() {
		now = s.Next(now)
	}
}
