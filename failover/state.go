package failover

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"inventorybeacon/uploads/backoff"
)

// StateVersion is the format of a [State] as JSON.
const StateVersion = 1

// How a server that failed is treated.
const (
	// minRest and maxRest bound how long it is put behind the others. A shorter
	// one finds its recovery sooner; a longer one wastes fewer tries on it.
	minRest = 5 * time.Second
	maxRest = 4 * time.Minute
	// maxAsked bounds how long a server's own wish to be left alone counts, so
	// that a wrong one cannot keep a machine from it for days.
	maxAsked = time.Hour
	// proofs is how many successes in a row make it healthy again: with one, a
	// server that fails every other time would be gone back to every other time.
	proofs = 2
	// proofGap is the time between them.
	proofGap = 10 * time.Second
	// maxTrial is how long it waits on trial for a probe; then the next transfer
	// tries it, so that a caller who never probes goes back to it nevertheless.
	maxTrial = 5 * time.Minute
)

// A Health is what is known of one server.
type Health struct {
	// Failures counts those since it was last healthy; 0 means healthy.
	Failures int `json:"failures,omitempty"`
	// Proofs counts successes in a row since the last failure.
	Proofs int `json:"proofs,omitempty"`
	// Rest is until when to leave it alone; after that it is on trial.
	Rest time.Time `json:"rest,omitzero"`
	// Asked is until when it wants to be left alone, healthy or not.
	Asked time.Time `json:"asked,omitzero"`
	// Down is when it failed first; OK when it last answered.
	Down  time.Time `json:"down,omitzero"`
	OK    time.Time `json:"ok,omitzero"`
	Error string    `json:"error,omitempty"`
}

// A standing is where a server goes, better ones first.
type standing int

const (
	healthy standing = iota
	onTrial
	resting
)

func (h Health) standing(now time.Time) standing {
	switch {
	case h.until().After(now):
		return resting
	case h.Failures > 0 && now.Sub(h.Rest) < maxTrial:
		return onTrial
	}
	return healthy
}

func (h Health) until() time.Time {
	if h.Asked.After(h.Rest) {
		return h.Asked
	}
	return h.Rest
}

// settle lets go of what can only be a time from before the clock was set back.
func (h *Health) settle(now time.Time) {
	if h.Rest.After(now.Add(2 * maxRest)) {
		h.Rest = now.Add(-maxTrial).UTC()
	}
	if h.Asked.After(now.Add(2 * maxAsked)) {
		h.Asked = time.Time{}
	}
}

// A State remembers how the servers did. It is safe for concurrent use and its
// JSON is what to keep between runs of the program.
type State struct {
	retry backoff.Backoff

	mu        sync.Mutex
	locations []Location
	bootstrap []Location
	health    map[string]Health
}

// NewState returns a State that knows only the servers that the machine was
// given to begin with. They stay its last resort whatever a policy says.
func NewState(bootstrap ...Location) *State {
	return &State{
		retry:     backoff.Backoff{Min: 2 * minRest, Max: maxRest},
		bootstrap: slices.Clone(bootstrap), health: map[string]Health{},
	}
}

// Replace installs the servers of a policy, in order of preference as
// [Chain.Order] returns them. What is known of those that stay is kept.
func (s *State) Replace(locations []Location) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.locations = slices.Clone(locations)
	known := map[string]bool{}
	for _, l := range s.all() {
		known[l.ID()] = true
	}
	maps.DeleteFunc(s.health, func(id string, _ Health) bool { return !known[id] })
}

// all returns every server once, the bootstrap ones that no policy lists last.
func (s *State) all() []Location {
	var out []Location
	seen := map[string]bool{}
	for _, l := range slices.Concat(s.locations, s.bootstrap) {
		if !seen[l.ID()] {
			seen[l.ID()] = true
			out = append(out, l)
		}
	}
	return out
}

// Order returns every server exactly once, in the order to try them at now:
// healthy ones as preferred, then those that are to prove themselves, then those
// that are resting, soonest over first, and last the bootstrap addresses that
// no policy lists.
func (s *State) Order(now time.Time) []Location {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.all()
	listed := len(all) - s.unlisted(all)
	s.sort(all[:listed], now)
	s.sort(all[listed:], now)
	return all
}

// unlisted returns how many of all, at its end, are bootstrap addresses only.
func (s *State) unlisted(all []Location) int {
	listed := map[string]bool{}
	for _, l := range s.locations {
		listed[l.ID()] = true
	}
	return len(all) - len(listed)
}

func (s *State) sort(ls []Location, now time.Time) {
	slices.SortStableFunc(ls, func(a, b Location) int {
		ha, hb := s.at(a.ID(), now), s.at(b.ID(), now)
		if c := cmp.Compare(ha.standing(now), hb.standing(now)); c != 0 || ha.standing(now) != resting {
			return c
		}
		return ha.until().Compare(hb.until())
	})
}

func (s *State) at(id string, now time.Time) Health {
	h := s.health[id]
	h.settle(now)
	return h
}

// Report records how an attempt on l that ended at now went. A server that
// answered, if only to refuse, did not fail.
func (s *State) Report(l Location, now time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.at(l.ID(), now)
	if err != nil {
		h.fail(now, err, max(minRest, s.retry.Delay(h.Failures+1)))
	} else {
		h.succeed(now)
	}
	s.health[l.ID()] = h
}

func (h *Health) fail(now time.Time, err error, rest time.Duration) {
	if h.Failures == 0 {
		h.Down = now.UTC()
	}
	h.Failures++
	h.Proofs = 0
	h.Rest = now.Add(rest).UTC()
	h.Error = err.Error()
}

func (h *Health) succeed(now time.Time) {
	h.OK, h.Asked = now.UTC(), time.Time{}
	if h.Failures == 0 {
		return
	}
	if h.Proofs++; h.Proofs >= proofs {
		*h = Health{OK: h.OK}
		return
	}
	h.Rest = now.Add(proofGap).UTC()
}

// Avoid records that l asked, at now, to be left alone for d (Retry-After). It
// is no failure, and the last one listed is asked nevertheless if nobody else is left.
func (s *State) Avoid(l Location, now time.Time, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.at(l.ID(), now)
	h.Asked = now.Add(min(d, maxAsked)).UTC()
	s.health[l.ID()] = h
}

// Probe returns the servers to probe at now: those that are preferred to the
// best healthy one, whose rest is over and that have yet to prove themselves.
// Report how it went; after two successes they are back in their place.
func (s *State) Probe(now time.Time) []Location {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Location
	for _, l := range s.all() {
		h := s.at(l.ID(), now)
		if h.Failures == 0 && h.standing(now) == healthy {
			break
		}
		if h.Failures > 0 && h.standing(now) != resting {
			out = append(out, l)
		}
	}
	return out
}

// NextProbe returns when [State.Probe] next has something to say, or the zero
// time if the preferred server is in use.
func (s *State) NextProbe(now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	var next time.Time
	for _, l := range s.all() {
		h := s.at(l.ID(), now)
		if h.Failures == 0 && h.standing(now) == healthy {
			break
		}
		if at := h.until(); h.Failures > 0 && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// Health returns what is known of l at now.
func (s *State) Health(l Location, now time.Time) Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at(l.ID(), now)
}

type stateJSON struct {
	Version int               `json:"version"`
	Servers map[string]Health `json:"servers"`
}

// MarshalJSON returns what is known of every server.
func (s *State) MarshalJSON() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return json.Marshal(stateJSON{StateVersion, s.health})
}

// UnmarshalJSON restores what an earlier run of the program knew. It refuses
// what a newer program wrote.
func (s *State) UnmarshalJSON(b []byte) error {
	var j stateJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("read failover state: %w", err)
	}
	if j.Version > StateVersion {
		return fmt.Errorf("read failover state: version %d is newer than this program's %d", j.Version, StateVersion)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health = j.Servers
	if s.health == nil {
		s.health = map[string]Health{}
	}
	return nil
}
