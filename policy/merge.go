package policy

import (
	"strings"
	"time"
)

// Effective merges the bundles that apply by k: per event, per setting, and
// for the selector and the list of beacons each as a whole, the first bundle
// that says anything wins.
func (s *Set) Effective(k Key) Effective {
	var e Effective
	for _, i := range s.order(k) {
		b := s.bundles[i]
		e.Bundles = append(e.Bundles, Match{Bundle: b.Name, Rank: k.Rank(i), Priority: b.Priority})
		e.addSchedule(b.Schedule)
		e.addSettings(b.Settings)
		e.addFailover(b.Failover)
	}
	return e
}

// Since returns the newest of the times that of gives for the bundles that
// apply by k.
func (s *Set) Since(k Key, of func(Bundle) time.Time) (newest time.Time) {
	for i, b := range s.bundles {
		if t := of(b); k.Rank(i) != NoMatch && t.After(newest) {
			newest = t
		}
	}
	return newest
}

// Matching returns the bundles that apply by k, the winner first.
func (s *Set) Matching(k Key) []Bundle {
	var bs []Bundle
	for _, i := range s.order(k) {
		bs = append(bs, s.bundles[i])
	}
	return bs
}

func (e *Effective) addSchedule(events Schedule) {
	known := map[string]bool{}
	for _, have := range e.Schedule {
		known[strings.ToLower(have.Name)] = true
	}
	for _, ev := range events {
		if !known[strings.ToLower(ev.Name)] {
			e.Schedule = append(e.Schedule, ev)
		}
	}
}

// addSettings compares sections and names without regard to case, as the
// registry of the agents they are for does.
func (e *Effective) addSettings(settings Settings) {
	for section, values := range settings {
		have := e.section(section)
		for name, value := range values {
			if !hasFold(have, name) {
				have[name] = value
			}
		}
	}
}

func (e *Effective) section(name string) map[string]string {
	for have, values := range e.Settings {
		if strings.EqualFold(have, name) {
			return values
		}
	}
	if e.Settings == nil {
		e.Settings = Settings{}
	}
	e.Settings[name] = map[string]string{}
	return e.Settings[name]
}

func hasFold(values map[string]string, name string) bool {
	if _, ok := values[name]; ok {
		return true
	}
	for have := range values {
		if strings.EqualFold(have, name) {
			return true
		}
	}
	return false
}

func (e *Effective) addFailover(f *Failover) {
	if f == nil {
		return
	}
	if e.Failover == nil {
		e.Failover = &Failover{}
	}
	if e.Failover.Selector == "" {
		e.Failover.Selector = f.Selector
	}
	if len(e.Failover.Beacons) == 0 {
		e.Failover.Beacons = f.Beacons
	}
}
