package failover

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// How much faster than the current server another has to be. A wider margin
// changes servers less often; a narrower one finds the fastest sooner.
const (
	marginFactor = 0.8
	marginRTT    = 5 * time.Millisecond
)

func everything(ranked) bool { return true }

// matching returns those that match, in their order.
func matching(rs []ranked, match func(ranked) bool) ([]ranked, func(ranked) bool) {
	return slices.DeleteFunc(slices.Clone(rs), func(r ranked) bool { return !match(r) }), match
}

// preferFast implements MgsPing: by time to answer.
func preferFast(rs []ranked, _ step, f Facts) ([]ranked, func(ranked) bool) {
	rtt := func(r ranked) time.Duration {
		d := f.RTT[r.ID()]
		if r.ID() == f.Current {
			d = min(time.Duration(float64(d)*marginFactor), d-marginRTT)
		}
		return d
	}
	front, _ := matching(rs, func(r ranked) bool { _, ok := f.RTT[r.ID()]; return ok })
	slices.SortStableFunc(front, func(a, b ranked) int { return cmp.Compare(rtt(a), rtt(b)) })
	return front, everything
}

// preferWide implements MgsBandwidth.
func preferWide(rs []ranked, _ step, f Facts) ([]ranked, func(ranked) bool) {
	width := func(r ranked) float64 {
		w := f.Bandwidth[r.ID()]
		if r.ID() == f.Current {
			w /= marginFactor
		}
		return w
	}
	front, _ := matching(rs, func(r ranked) bool { return f.Bandwidth[r.ID()] > 0 })
	slices.SortStableFunc(front, func(a, b ranked) int { return cmp.Compare(width(b), width(a)) })
	return front, everything
}

// preferRandom implements MgsRandom: every order is as likely as any other.
func preferRandom(rs []ranked, _ step, f Facts) ([]ranked, func(ranked) bool) {
	lot := func(r ranked) uint64 {
		sum := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, f.Seed), r.ID()...))
		return binary.BigEndian.Uint64(sum[:])
	}
	front := slices.Clone(rs)
	slices.SortStableFunc(front, func(a, b ranked) int { return cmp.Compare(lot(a), lot(b)) })
	return front, everything
}

// preferSubnet implements MgsSubnetMatch: those in one of this machine's
// subnets, in the order they come in.
func preferSubnet(rs []ranked, _ step, f Facts) ([]ranked, func(ranked) bool) {
	return matching(rs, func(r ranked) bool {
		return slices.ContainsFunc(f.Addresses[r.ID()], func(a netip.Addr) bool {
			return slices.ContainsFunc(f.Own, func(p netip.Prefix) bool { return p.Masked().Contains(a.Unmap()) })
		})
	})
}

// preferNear implements MgsIPMatch: by the length of the common prefix of the
// addresses; IPv4 only.
func preferNear(rs []ranked, _ step, f Facts) ([]ranked, func(ranked) bool) {
	bits := func(r ranked) int {
		best := -1
		for _, a := range f.Addresses[r.ID()] {
			for _, own := range f.Own {
				best = max(best, commonBits(a.Unmap(), own.Addr().Unmap()))
			}
		}
		return best
	}
	front, _ := matching(rs, func(r ranked) bool { return bits(r) >= 0 })
	slices.SortStableFunc(front, func(a, b ranked) int { return cmp.Compare(bits(b), bits(a)) })
	return front, everything
}

// commonBits returns how many leading bits two IPv4 addresses share, -1 if one
// is none.
func commonBits(a, b netip.Addr) int {
	if !a.Is4() || !b.Is4() {
		return -1
	}
	for n := 32; n > 0; n-- {
		if p, err := a.Prefix(n); err == nil && p.Contains(b) {
			return n
		}
	}
	return 0
}

// preferDomain implements MgsDomainMatch: domains are compared component by
// component from the right, a component further right counting for more.
func preferDomain(rs []ranked, _ step, f Facts) ([]ranked, func(ranked) bool) {
	own := components(strings.ToLower(f.Domain))
	closeness := func(r ranked) []int {
		_, domain, _ := strings.Cut(r.Host(), ".")
		if _, err := netip.ParseAddr(r.Host()); err == nil || domain == "" || f.Domain == "" {
			return nil
		}
		return agreement(own, components(domain))
	}
	front, _ := matching(rs, func(r ranked) bool { return slices.Contains(closeness(r), 1) })
	slices.SortStableFunc(front, func(a, b ranked) int { return slices.Compare(closeness(b), closeness(a)) })
	return front, everything
}

// components returns the parts of a domain from the right, with an empty one at
// the end, so that a domain is closer to itself than to one below it.
func components(domain string) []string {
	out := strings.Split(strings.Trim(domain, "."), ".")
	slices.Reverse(out)
	return append(out, "")
}

func agreement(a, b []string) []int {
	out := make([]int, min(len(a), len(b)))
	for i := range out {
		if a[i] == b[i] {
			out[i] = 1
		}
	}
	return out
}

// preferName implements MgsNameMatch: those whose name begins with the same
// characters as this machine's, in the order they come in. A name shorter than
// that has to be the same altogether.
func preferName(rs []ranked, s step, f Facts) ([]ranked, func(ranked) bool) {
	own := leading(f.Name, s.length)
	return matching(rs, func(r ranked) bool {
		host, _, _ := strings.Cut(r.Host(), ".")
		return own != "" && leading(host, s.length) == own
	})
}

func leading(name string, n int) string {
	rs := []rune(strings.ToLower(name))
	return string(rs[:min(n, len(rs))])
}
