package policy

import (
	"cmp"
	"net/netip"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Set is the bundles of one revision, prepared for matching. It is
// immutable.
type Set struct {
	bundles []Bundle
	targets []target
}

// NewSet prepares bundles. The order of the bundles is part of every [Key].
func NewSet(bundles []Bundle) *Set {
	s := &Set{bundles: bundles}
	for _, b := range bundles {
		s.targets = append(s.targets, newTarget(b.AppliesTo))
	}
	return s
}

// Bundles returns the bundles in the order in which they were given.
func (s *Set) Bundles() []Bundle { return s.bundles }

// A Key says how each bundle of a Set applies to a device, one byte a bundle.
// Devices with the same key are told the same.
type Key []byte

// byAddress marks a bundle whose network is what decides whether it applies.
const byAddress = 0x80

// Rank returns how the i-th bundle applies.
func (k Key) Rank(i int) Rank { return Rank(k[i] &^ byAddress) }

// None reports whether no bundle applies.
func (k Key) None() bool {
	for i := range k {
		if k.Rank(i) != NoMatch {
			return false
		}
	}
	return true
}

// ByAddress reports whether the device's address decided about any bundle.
func (k Key) ByAddress() bool {
	return slices.ContainsFunc(k, func(b byte) bool { return b&byAddress != 0 })
}

// AppendKey appends the key of q to k. With room in k it allocates nothing for
// names of usual length, because it is run for every poll of a fleet.
func (s *Set) AppendKey(k Key, q Query) Key {
	var deviceBuf, domainBuf [64]byte
	device, domain := Fold(deviceBuf[:0], q.Device), Fold(domainBuf[:0], q.Domain)
	for i := range s.targets {
		k = append(k, s.targets[i].match(device, domain, q))
	}
	return k
}

// Fold appends s to b in the form in which names compare: lower case.
func Fold(b []byte, s string) []byte {
	start := len(b)
	for i := range len(s) {
		c := s[i]
		if c >= utf8.RuneSelf {
			return append(b[:start], strings.ToLower(s)...)
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

// A target is the conditions of one bundle, prepared.
type target struct {
	nobody    bool // it names a group or a tag
	exact     map[string]struct{}
	patterns  []string
	anyDevice bool
	domains   map[string]struct{} // nil: any
	platforms []platform          // nil: any
	networks  []netip.Prefix      // nil: any
}

type platform struct{ os, arch string } // no arch: any

func newTarget(a AppliesTo) target {
	t := target{nobody: len(a.Groups)+len(a.Tags) > 0, anyDevice: len(a.Devices) == 0}
	for _, d := range a.Devices {
		t.addDevice(strings.ToLower(d))
	}
	if len(a.Domains) > 0 && !slices.Contains(a.Domains, "*") {
		t.domains = map[string]struct{}{}
		for _, d := range a.Domains {
			t.domains[strings.ToLower(d)] = struct{}{}
		}
	}
	for _, p := range a.Platforms {
		os, arch, _ := strings.Cut(strings.ToLower(p), "/")
		t.platforms = append(t.platforms, platform{os, arch})
	}
	for _, p := range a.Addresses {
		if prefix, err := netip.ParsePrefix(p); err == nil {
			t.networks = append(t.networks, prefix.Masked())
		}
	}
	t.nobody = t.nobody || len(t.networks) < len(a.Addresses) // what cannot be read matches nobody
	return t
}

func (t *target) addDevice(d string) {
	switch {
	case d == "*":
		t.anyDevice = true
	case strings.ContainsAny(d, `*?[\`):
		t.patterns = append(t.patterns, d)
	default:
		if t.exact == nil {
			t.exact = map[string]struct{}{}
		}
		t.exact[d] = struct{}{}
	}
}

// match returns a byte of a Key.
func (t *target) match(device, domain []byte, q Query) byte {
	if t.nobody {
		return byte(NoMatch)
	}
	rank := t.device(device)
	if rank == NoMatch {
		return byte(NoMatch)
	}
	if t.domains != nil {
		if _, ok := t.domains[string(domain)]; !ok {
			return byte(NoMatch)
		}
		rank = min(rank, Domain)
	}
	if t.platforms != nil {
		if !t.platform(q) {
			return byte(NoMatch)
		}
		rank = min(rank, Platform)
	}
	if t.networks == nil {
		return byte(rank)
	}
	if !t.network(q.Address) {
		return byte(NoMatch) | byAddress
	}
	return byte(min(rank, Address)) | byAddress
}

func (t *target) device(device []byte) Rank {
	if _, ok := t.exact[string(device)]; ok {
		return ExactDevice
	}
	for _, p := range t.patterns {
		if ok, err := path.Match(p, string(device)); ok && err == nil {
			return DevicePattern
		}
	}
	if t.anyDevice {
		return Everyone
	}
	return NoMatch
}

func (t *target) platform(q Query) bool {
	for _, p := range t.platforms {
		if q.OS != "" && strings.EqualFold(p.os, q.OS) && (p.arch == "" || strings.EqualFold(p.arch, q.Arch)) {
			return true
		}
	}
	return false
}

func (t *target) network(a netip.Addr) bool {
	a = a.Unmap()
	for _, n := range t.networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// order returns the indices of the bundles that apply, the winner first.
func (s *Set) order(k Key) []int {
	var is []int
	for i := range k {
		if k.Rank(i) != NoMatch {
			is = append(is, i)
		}
	}
	slices.SortFunc(is, func(a, b int) int {
		return cmp.Or(cmp.Compare(k.Rank(a), k.Rank(b)), s.compare(a, b))
	})
	return is
}

// compare orders bundles of one rank.
func (s *Set) compare(a, b int) int {
	return cmp.Or(cmp.Compare(s.bundles[a].Priority, s.bundles[b].Priority), cmp.Compare(s.bundles[a].Name, s.bundles[b].Name))
}
