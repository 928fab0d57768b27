package schedule

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTriggerListsEveryMistake(t *testing.T) {
	for _, c := range []struct {
		name    string
		trigger Trigger
		want    string // fields, in order
	}{
		{"none", Trigger{Type: TypeDaily, At: Clock(5 * time.Minute), Repeat: 12 * time.Hour, For: day, Window: time.Hour}, ""},
		{"connect", Trigger{Type: TypeConnect, Window: time.Minute}, ""},
		{"repeats after startup", Trigger{Type: TypeStartup, Repeat: time.Hour, For: day}, ""},
		{"no type", Trigger{}, "type"},
		{"unknown type", Trigger{Type: 99, At: -1}, "type"},
		{"time of day", Trigger{Type: TypeDaily, At: Clock(day)}, "at"},
		{"fraction of a second", Trigger{Type: TypeDaily, At: 1}, "at"},
		{"time for an event", Trigger{Type: TypeNow, At: Clock(time.Hour)}, "at"},
		{"once without a day", Trigger{Type: TypeOnce}, "start"},
		{"30 February", Trigger{Type: TypeDaily, Start: Date{2026, 2, 30}}, "start"},
		{"everything", Trigger{Type: TypeDaily, At: -1, Window: 25 * time.Hour, Every: 400, Weekdays: []time.Weekday{9},
			Days: []int{0}, Repeat: time.Second, For: 500 * day}, "at window every weekdays days weekdays days repeat for"},
		{"repeat without end", Trigger{Type: TypeDaily, Repeat: time.Hour}, "for"},
		{"end without repeat", Trigger{Type: TypeDaily, For: time.Hour}, "repeat"},
		{"past the next start", Trigger{Type: TypeDaily, Repeat: time.Hour, For: 25 * time.Hour}, "for"},
		{"never", Trigger{Type: TypeMonthly, Days: []int{31}, Every: 12, Start: Date{2026, 2, 1}}, "days"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, m := range c.trigger.Validate() {
				got = append(got, m.Field)
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("mistakes %q, want %q", c.trigger.Validate(), c.want)
			}
			if _, err := c.trigger.Schedule("", time.UTC); (err == nil) != (c.want == "") {
				t.Errorf("Schedule: %v", err)
			}
		})
	}
}

func TestEventListsEveryMistake(t *testing.T) {
	if wrong := Daily("Generate Inventory", "inventory", 0, day).Validate(); len(wrong) > 0 {
		t.Errorf("the built-in event has mistakes: %v", wrong)
	}
	e := Event{Idle: -1, Triggers: []Trigger{{Type: TypeDaily}, {Type: TypeDaily, At: -1}}}
	want := []string{"id", "event", "run", "idle", "triggers[1].at"}
	var got []string
	for _, m := range e.Validate() {
		got = append(got, m.Field)
	}
	if !slices.Equal(got, want) {
		t.Errorf("mistakes in %q, want %q", got, want)
	}
}

func TestTextIsReadStrictly(t *testing.T) {
	for _, s := range []string{"", "1:05", "24:00", "00:60", "000500", "00:05Z", " 00:05", "00:05:00.5"} {
		if c, err := ParseClock(s); err == nil {
			t.Errorf("clock %q read as %v", s, c)
		}
	}
	for _, s := range []string{"", "93000", "246060", "09:30"} {
		if c, err := ParseWireClock(s); err == nil {
			t.Errorf("wire clock %q read as %v", s, c)
		}
	}
	for _, s := range []string{"", "20260105", "2026-1-5", "2026-02-30"} {
		if d, err := ParseDate(s); err == nil {
			t.Errorf("date %q read as %v", s, d)
		}
	}
	if c := clock(t, "23:59:58"); c.String() != "23:59:58" || c.Wire() != "235958" || clock(t, "00:05").String() != "00:05" {
		t.Errorf("clock %v, wire %s", c, c.Wire())
	}
	if d := date(t, "2026-01-05"); d.String() != "2026-01-05" || d.Wire() != "20260105" || (Date{}).Wire() != "" {
		t.Errorf("date %v, wire %s", d, d.Wire())
	}
	for typ, n := range typeNames {
		for _, s := range []string{n.bundle, n.wire, strings.ToUpper(n.wire)} {
			if got, err := ParseType(s); err != nil || got != typ {
				t.Errorf("type %q read as %v, %v", s, got, err)
			}
		}
	}
	for _, s := range []string{"never", "Never", "once", "Once", ""} {
		if _, err := ParseCatchup(s); err != nil {
			t.Error(err)
		}
	}
	if _, err := ParseCatchup("always"); err == nil {
		t.Error("catchup always was taken")
	}
}
