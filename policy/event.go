package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"inventorybeacon/schedule"
)

// Runs are what an event may run; "command:<name>" is the other.
var Runs = []string{"policy", "settings", "inventory", "usage", "upload", "upgrade"}

// ValidRun reports whether an event may run r.
func ValidRun(r string) bool {
	if name, ok := strings.CutPrefix(r, "command:"); ok {
		return ValidName(name)
	}
	return slices.Contains(Runs, r)
}

// Schedule is the events of a bundle. In JSON it looks as in bundle.yaml.
type Schedule []schedule.Event

// MarshalJSON implements [json.Marshaler].
func (s Schedule) MarshalJSON() ([]byte, error) {
	texts := make([]EventText, len(s))
	for i, e := range s {
		texts[i] = TextOf(e)
	}
	return json.Marshal(texts)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (s *Schedule) UnmarshalJSON(b []byte) error {
	var texts []EventText
	if err := json.Unmarshal(b, &texts); err != nil {
		return err
	}
	*s = nil
	for _, t := range texts {
		e, wrong := t.Event()
		if len(wrong) > 0 {
			return fmt.Errorf("event %q: %w", t.Name, wrong[0])
		}
		*s = append(*s, e)
	}
	return nil
}

// An EventText is an event as an administrator writes it.
type EventText struct {
	Name     string        `json:"event" yaml:"event"`
	Run      string        `json:"run" yaml:"run"`
	Triggers []TriggerText `json:"triggers" yaml:"triggers"`
	Catchup  string        `json:"catchup,omitempty" yaml:"catchup"`
}

// A TriggerText is a trigger as an administrator writes it.
type TriggerText struct {
	Type     string   `json:"type" yaml:"type"`
	At       string   `json:"at,omitempty" yaml:"at"`
	Start    string   `json:"start,omitempty" yaml:"start"`
	Every    int      `json:"every,omitempty" yaml:"every"`
	Weekdays []string `json:"weekdays,omitempty" yaml:"weekdays"`
	Days     []int    `json:"days,omitempty" yaml:"days"`
	Repeat   string   `json:"repeat,omitempty" yaml:"repeat"`
	For      string   `json:"for,omitempty" yaml:"for"`
	Window   string   `json:"window,omitempty" yaml:"window"`
}

// TextOf returns how e is written.
func TextOf(e schedule.Event) EventText {
	t := EventText{Name: e.Name, Run: e.Run, Catchup: e.Catchup.String()}
	for _, g := range e.Triggers {
		text := TriggerText{
			Type: g.Type.String(), Start: g.Start.String(), Every: g.Every, Days: g.Days,
			Repeat: Span(g.Repeat), For: Span(g.For), Window: Span(g.Window),
		}
		if g.Type.Timed() {
			text.At = g.At.String()
		}
		for _, d := range g.Weekdays {
			text.Weekdays = append(text.Weekdays, strings.ToLower(d.String()))
		}
		t.Triggers = append(t.Triggers, text)
	}
	return t
}

// Event reads t and returns every mistake in it.
func (t EventText) Event() (schedule.Event, []schedule.Mistake) {
	e := schedule.Event{ID: schedule.EventID(t.Name), Name: t.Name, Run: t.Run}
	var wrong []schedule.Mistake
	var err error
	if e.Catchup, err = schedule.ParseCatchup(t.Catchup); err != nil {
		wrong = append(wrong, schedule.Mistake{Field: "catchup", Problem: fmt.Sprintf("is %q: write never or once", t.Catchup)})
	}
	if t.Run != "" && !ValidRun(t.Run) {
		wrong = append(wrong, schedule.Mistake{Field: "run", Problem: fmt.Sprintf("is %q: write one of %s or command:<name>", t.Run, strings.Join(Runs, ", "))})
	}
	for i, g := range t.Triggers {
		trigger, mistakes := g.Trigger()
		for _, m := range mistakes {
			wrong = append(wrong, schedule.Mistake{Field: fmt.Sprintf("triggers[%d].%s", i, m.Field), Problem: m.Problem})
		}
		e.Triggers = append(e.Triggers, trigger)
	}
	for _, m := range e.Validate() {
		known := slices.ContainsFunc(wrong, func(w schedule.Mistake) bool { return w.Field == m.Field })
		if !known { // a value that could not be read is not missing too
			wrong = append(wrong, m)
		}
	}
	return e, wrong
}

// Trigger reads t and returns what cannot be read at all; what is wrong with
// the values is for [schedule.Trigger.Validate].
func (t TriggerText) Trigger() (g schedule.Trigger, wrong []schedule.Mistake) {
	bad := func(field string, err error) {
		if err != nil {
			wrong = append(wrong, schedule.Mistake{Field: field, Problem: "is wrong: " + err.Error()})
		}
	}
	var err error
	g.Every, g.Days = t.Every, t.Days
	g.Type, err = schedule.ParseType(t.Type)
	bad("type", err)
	if t.At != "" {
		g.At, err = schedule.ParseClock(t.At)
		bad("at", err)
	}
	if t.Start != "" {
		g.Start, err = schedule.ParseDate(t.Start)
		bad("start", err)
	}
	g.Weekdays, err = weekdays(t.Weekdays)
	bad("weekdays", err)
	g.Repeat, err = parseSpan(t.Repeat)
	bad("repeat", err)
	g.For, err = parseSpan(t.For)
	bad("for", err)
	g.Window, err = parseSpan(t.Window)
	bad("window", err)
	return g, wrong
}

func weekdays(names []string) (days []time.Weekday, err error) {
	for _, n := range names {
		d, ok := weekday(n)
		if !ok {
			return nil, fmt.Errorf("%q is not a day of the week such as monday or mon", n)
		}
		days = append(days, d)
	}
	return days, nil
}

func weekday(name string) (time.Weekday, bool) {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if strings.EqualFold(name, d.String()) || strings.EqualFold(name, d.String()[:3]) {
			return d, true
		}
	}
	return 0, false
}

func parseSpan(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration such as 90s, 30m or 12h", s)
	}
	return d, nil
}

// Span writes a duration as an administrator does: 12h, not 12h0m0s; nothing
// for none.
func Span(d time.Duration) string {
	if d == 0 {
		return ""
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
