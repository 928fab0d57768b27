package failover_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"inventorybeacon/failover"
)

var (
	a, b, c   = loc("a", 1, false), loc("b", 2, false), loc("c", 3, false)
	bootstrap = loc("boot", 0, false)
	errDown   = errors.New("connection refused")
	t0        = time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
)

const (
	restMin = 5 * time.Second
	restMax = 4 * time.Minute
	settled = restMax + 5*time.Minute // by when a failure is history without any probe
)

func newState(ls ...failover.Location) *failover.State {
	s := failover.NewState(bootstrap)
	s.Replace(ls)
	return s
}

func order(s *failover.State, now time.Time) string { return names(s.Order(now)) }

func expect(t *testing.T, s *failover.State, now time.Time, want string) {
	t.Helper()
	if got := order(s, now); got != want {
		t.Errorf("after %v: order %s, want %s", now.Sub(t0), got, want)
	}
}

// rested returns when l's rest is over.
func rested(s *failover.State, l failover.Location, now time.Time) time.Time {
	return s.Health(l, now).Rest
}

func TestStateGoesToTheNextAndBack(t *testing.T) {
	s := newState(a, b, c)
	expect(t, s, t0, "a b c boot")
	s.Report(a, t0, errDown)
	expect(t, s, t0, "b c a boot")
	if len(s.Probe(t0)) > 0 {
		t.Error("probes what is resting")
	}

	now := rested(s, a, t0)
	if d := now.Sub(t0); d < restMin || d > restMax {
		t.Errorf("rests for %v", d)
	}
	if next := s.NextProbe(t0); !next.Equal(now) {
		t.Errorf("next probe %v, want %v", next, now)
	}
	expect(t, s, now, "b c a boot") // on trial: real files do not prove it
	if got := names(s.Probe(now)); got != "a" {
		t.Errorf("probes %q, want a", got)
	}

	s.Report(a, now, nil)
	expect(t, s, now, "b c a boot") // one success is not enough
	now = rested(s, a, now)
	s.Report(a, now, nil)
	expect(t, s, now, "a b c boot")
	if !s.NextProbe(now).IsZero() || len(s.Probe(now)) > 0 {
		t.Error("probes though the preferred one is in use")
	}
}

// A server that fails every other time is not gone back to, and is asked less
// and less often.
func TestStateDoesNotFlap(t *testing.T) {
	s := newState(a, b)
	now, longest := t0, time.Duration(0)
	s.Report(a, now, errDown)
	for range 40 {
		now = rested(s, a, now)
		s.Report(a, now, nil)
		expect(t, s, now, "b a boot")
		now = rested(s, a, now)
		s.Report(a, now, errDown)
		longest = max(longest, rested(s, a, now).Sub(now))
	}
	if longest < restMax/4 || longest > restMax {
		t.Errorf("longest rest %v, want up to %v", longest, restMax)
	}
	if h := s.Health(a, now); h.Failures != 41 || !h.Down.Equal(t0) || h.Error != errDown.Error() {
		t.Errorf("health %+v", h)
	}
}

// A caller that never probes goes back to the preferred one nevertheless.
func TestStateGoesBackWithoutProbes(t *testing.T) {
	s := newState(a, b)
	s.Report(a, t0, errDown)
	s.Report(b, t0, nil)
	expect(t, s, t0.Add(time.Second), "b a boot")
	expect(t, s, t0.Add(settled), "a b boot")
	s.Report(a, t0.Add(settled), errDown)
	expect(t, s, t0.Add(settled), "b a boot")
}

func TestStateTriesTheSoonestRestedFirstWhenAllAreDown(t *testing.T) {
	s := newState(a, b)
	s.Avoid(a, t0, 10*time.Minute)
	s.Report(b, t0, errDown)
	expect(t, s, t0, "b a boot")
	s.Report(bootstrap, t0, errDown)
	expect(t, s, t0, "b a boot") // the last resort is the last resort, and always there
}

func TestStateHonoursAWishToBeLeftAlone(t *testing.T) {
	s := newState(a, b)
	s.Avoid(a, t0, 90*time.Second)
	expect(t, s, t0, "b a boot")
	if len(s.Probe(t0)) > 0 || !s.NextProbe(t0).IsZero() {
		t.Error("probes what asked to be left alone")
	}
	expect(t, s, t0.Add(90*time.Second), "a b boot")
	s.Avoid(a, t0, 365*24*time.Hour)
	expect(t, s, t0.Add(time.Hour), "a b boot")
}

func TestStateListsABootstrapAddressOnce(t *testing.T) {
	s := newState(a, bootstrap, b)
	expect(t, s, t0, "a boot b")
	s.Replace(nil)
	expect(t, s, t0, "boot")
	s.Replace([]failover.Location{b})
	expect(t, s, t0, "b boot")
}

func TestStateForgetsServersThatLeave(t *testing.T) {
	s := newState(a, b)
	s.Report(a, t0, errDown)
	s.Report(b, t0, errDown)
	s.Replace([]failover.Location{a, c})
	expect(t, s, t0, "c a boot")
	s.Replace([]failover.Location{a, b})
	expect(t, s, t0, "b a boot")
	if h := s.Health(b, t0); h != (failover.Health{}) {
		t.Errorf("remembers %+v", h)
	}
}

func TestStateSurvivesARestart(t *testing.T) {
	s := newState(a, b)
	s.Report(a, t0, errDown)
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	again := failover.NewState(bootstrap)
	if err := json.Unmarshal(text, again); err != nil {
		t.Fatal(err)
	}
	again.Replace([]failover.Location{a, b})
	expect(t, again, t0, "b a boot")
	for _, text := range []string{`{"version":2}`, `{"version":1,"servers":[]}`, `[]`} {
		if err := json.Unmarshal([]byte(text), failover.NewState()); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
	if err := json.Unmarshal([]byte(`{"version":1}`), again); err != nil {
		t.Error(err)
	}
	again.Report(a, t0, errDown)
}

func TestStateSurvivesAClockThatIsSetBack(t *testing.T) {
	s := newState(a, b)
	s.Report(a, t0.AddDate(70, 0, 0), errDown)
	s.Avoid(b, t0.AddDate(70, 0, 0), time.Hour)
	expect(t, s, t0, "a b boot")
	if got := names(s.Probe(t0)); got != "a" {
		t.Errorf("probes %q, want a", got)
	}
	s.Report(a, t0, errDown)
	expect(t, s, t0, "b a boot")
}

// Whatever happened, every server is in the order exactly once with the last
// resort at its end, and once it is quiet all are back in their places.
func TestStateStarvesNobody(t *testing.T) {
	all := []failover.Location{a, b, c, bootstrap}
	rapid.Check(t, func(rt *rapid.T) {
		s := newState(a, b, c)
		now := t0
		for range rapid.IntRange(0, 60).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(-600, 600).Draw(rt, "seconds")) * time.Second)
			l := rapid.SampledFrom(all).Draw(rt, "server")
			switch rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0:
				s.Report(l, now, nil)
			case 1:
				s.Avoid(l, now, time.Duration(rapid.IntRange(0, 1e6).Draw(rt, "for"))*time.Second)
			default:
				s.Report(l, now, errDown)
			}
			got := strings.Fields(order(s, now))
			seen := map[string]bool{}
			for _, n := range got {
				seen[n] = true
			}
			if len(got) != 4 || len(seen) != 4 || got[3] != "boot" {
				rt.Fatalf("order %q", got)
			}
			if next := s.NextProbe(now); len(s.Probe(now)) == 0 && !next.IsZero() && !next.After(now) {
				rt.Fatalf("probe promised at %v, none at %v", next, now)
			}
		}
		if got := order(s, now.Add(2*time.Hour)); got != "a b c boot" {
			rt.Fatalf("when all is quiet: %s", got)
		}
	})
}
