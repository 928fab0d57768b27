package comeback

import "time"

// A place is what a caller was promised.
type place struct {
	at    int64 // second
	since int64 // second of the first refusal
	class Class // as it counts, see patience
	tries uint8 // times it came at its time and was turned away
}

// place returns what the caller was promised, if that still stands.
func (s *Schedule) place(c Caller) (place, bool) {
	p, ok := s.places[c]
	return p, ok && p.at+grace > s.now
}

// free gives a place up.
func (s *Schedule) free(c Caller, p place) {
	sl := s.at(p.at)
	sl.due[p.class]--
	if p.at > s.now {
		sl.booked[p.class]--
	}
	s.waiting[p.class]--
	delete(s.places, c)
}

// rebook gives a caller whose time has come another one.
func (s *Schedule) rebook(c Caller, p place, least int64) time.Duration {
	s.free(c, p)
	if p.at <= s.now {
		p.tries = min(p.tries+1, 100)
	}
	p.class = c.Class - min(c.Class, Class((s.now-p.since)/patience))
	return s.book(c, p, least)
}

// maxDoublings bounds the gap that is kept after several refusals in a row to
// a quarter of a minute. More spares refusals; fewer end the drain sooner.
const maxDoublings = 4

// book gives a caller the first second with room, at least so many from now:
// behind everything better that waits. Where there is none, the second depends
// on who it is, so that asking again changes little.
func (s *Schedule) book(c Caller, p place, least int64) time.Duration {
	// Who came in vain before has a little more patience to show each time.
	from := s.now + max(1<<min(p.tries, maxDoublings), least)
	turn := from
	for _, last := range s.last[:p.class] {
		turn = max(turn, last)
	}
	at, found := s.find(turn, p, least > 1)
	if !found {
		at = s.now + horizon/2 + int64(mix(c.ID)%(horizon/2))
		at = max(at, min(from, s.now+horizon-1))
	}
	p.at = at
	if found && least <= 1 {
		s.last[p.class] = max(s.last[p.class], at)
	}
	s.at(at).booked[p.class]++
	if s.remember(c, p) {
		s.at(at).due[p.class]++
		s.waiting[p.class]++
	}
	return s.wait(at)
}

// find returns the first second from one on with room. Callers look from about
// the same second on, or from about the same later one, and need not look again
// at what the one before them found full.
func (s *Schedule) find(from int64, p place, far bool) (int64, bool) {
	hint := &s.hint[p.class]
	if far {
		hint = &s.farHint[p.class]
	}
	if p.tries == 0 {
		from = max(from, *hint)
	}
	for at := from; at < s.now+horizon; at++ {
		if s.room(at, p.class, p.tries) {
			if p.tries == 0 {
				*hint = at
			}
			return at, true
		}
	}
	if p.tries == 0 {
		*hint = s.now + horizon
	}
	return 0, false
}

// remember keeps a place, unless too many are kept.
func (s *Schedule) remember(c Caller, p place) bool {
	if len(s.places) >= remembered && s.swept != s.now {
		s.swept = s.now // looking through all of them more often would be the load
		for k, q := range s.places {
			if q.at+grace <= s.now {
				delete(s.places, k)
			}
		}
	}
	if len(s.places) >= remembered {
		return false
	}
	s.places[c] = p
	return true
}

// mix spreads hashes whose ends are alike.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	return x ^ x>>33
}
