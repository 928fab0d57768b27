package policy

import "slices"

// Part returns the set of those bundles for which part holds.
func (s *Set) Part(part func(Bundle) bool) *Set {
	return NewSet(slices.DeleteFunc(slices.Clone(s.bundles), func(b Bundle) bool { return !part(b) }))
}

// Keys calls yield with every key that a device could have, at most limit of
// them, and reports whether that was all. It may yield keys that no device
// can have, never the reverse. Two bundles that exclude each other (other
// domains, other devices, other platforms) are never put together, so a set
// that divides a fleet has few.
func (s *Set) Keys(limit int, yield func(Key)) bool {
	e := enumeration{set: s, left: limit, yield: yield}
	for i := range s.targets {
		e.ranks = append(e.ranks, s.targets[i].ranks())
	}
	return e.next(nil)
}

type enumeration struct {
	set   *Set
	ranks [][]Rank
	left  int
	yield func(Key)
}

func (e *enumeration) next(k Key) bool {
	i := len(k)
	if i == len(e.ranks) {
		if e.left--; e.left < 0 {
			return false
		}
		e.yield(k)
		return true
	}
	for _, r := range e.ranks[i] {
		if r != NoMatch && e.excluded(k, i) {
			continue
		}
		if !e.next(append(k[:i:i], byte(r))) {
			return false
		}
	}
	return true
}

func (e *enumeration) excluded(k Key, i int) bool {
	for j := range k {
		if k.Rank(j) != NoMatch && e.set.targets[i].excludes(&e.set.targets[j]) {
			return true
		}
	}
	return false
}

// ranks returns every rank that t can have.
func (t *target) ranks() []Rank {
	if t.nobody {
		return []Rank{NoMatch}
	}
	var rs []Rank
	if !t.anyDevice || t.domains != nil || t.platforms != nil || t.networks != nil {
		rs = append(rs, NoMatch)
	}
	add := func(possible bool, r Rank) {
		if !possible {
			return
		}
		if t.domains != nil {
			r = min(r, Domain)
		}
		if t.platforms != nil {
			r = min(r, Platform)
		}
		if t.networks != nil {
			r = min(r, Address)
		}
		if !slices.Contains(rs, r) {
			rs = append(rs, r)
		}
	}
	add(len(t.exact) > 0, ExactDevice)
	add(len(t.patterns) > 0, DevicePattern)
	add(t.anyDevice, Everyone)
	return rs
}

// excludes reports whether no device can match both t and o.
func (t *target) excludes(o *target) bool {
	return disjoint(t.domains, o.domains) ||
		t.exactOnly() && o.exactOnly() && disjoint(t.exact, o.exact) ||
		t.platforms != nil && o.platforms != nil && !slices.ContainsFunc(t.platforms, o.overlaps)
}

func (t *target) exactOnly() bool { return !t.anyDevice && len(t.patterns) == 0 }

func (t *target) overlaps(p platform) bool {
	return slices.ContainsFunc(t.platforms, func(o platform) bool {
		return p.os == o.os && (p.arch == "" || o.arch == "" || p.arch == o.arch)
	})
}

// disjoint reports whether a and b, where nil is everything, have nothing in common.
func disjoint(a, b map[string]struct{}) bool {
	if a == nil || b == nil {
		return false
	}
	for k := range a {
		if _, ok := b[k]; ok {
			return false
		}
	}
	return true
}
