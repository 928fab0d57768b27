// Package failover says which of several equivalent servers to ask next.
//
// A [Chain] of selector algorithms puts the servers in the order in which this
// machine prefers them; a [State] remembers which of them failed lately and
// puts those behind. Both are told the time and what was measured; neither
// opens a socket. Measuring is the work of the probe sub-package.
package failover

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
)

// A Location is a server that agents download from and upload to.
type Location struct {
	Name string
	// Download and Upload are the root URLs, for example
	// "https://b1.example.com/ManageSoftDL". One may be empty.
	Download, Upload string
	// Priority: the lower, the more preferred. For an Auto location it is only
	// where the selector algorithms begin.
	Priority int
	// Auto leaves the priority to the selector algorithms.
	Auto bool
	// Invalid locations are never used.
	Invalid bool
	// Proxy is the URL of the proxy on the way there, [Direct] for none, or
	// empty to go by the environment.
	Proxy string
}

// Direct is the Proxy of a location that is reached without one.
const Direct = "direct"

// ID identifies a server whatever it is called in a policy: a change of address
// makes it another one.
func (l Location) ID() string { return cmp.Or(l.Download, l.Upload) }

// Host returns the host name or address of the server, lower-cased, without port.
func (l Location) Host() string {
	u, err := url.Parse(l.ID())
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
}

// Order returns the locations that may be used in the order in which the machine
// that f describes prefers them, with priorities from 1 on.
//
// The chain orders the Auto locations among themselves and gives them the
// priorities 1, 2, 3…; the others keep theirs. Of equal priorities the one
// listed first wins. Invalid locations, and what an algorithm discards, are left out.
func (c Chain) Order(list []Location, f Facts) []Location {
	var auto, out []ranked
	for i, l := range list {
		switch {
		case l.Invalid:
		case l.Auto:
			auto = append(auto, ranked{l, i})
		default:
			out = append(out, ranked{l, i})
		}
	}
	sortRanked(auto)
	for _, s := range c.steps {
		auto = s.apply(auto, f)
	}
	for i := range auto {
		auto[i].Priority = i + 1
	}
	return normalise(append(out, auto...))
}

// A ranked is a location and its place in the list.
type ranked struct {
	Location
	index int
}

func sortRanked(rs []ranked) {
	slices.SortStableFunc(rs, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.index, b.index))
	})
}

func normalise(rs []ranked) []Location {
	sortRanked(rs)
	out := make([]Location, len(rs))
	for i, r := range rs {
		out[i] = r.Location
		out[i].Priority = i + 1
	}
	return out
}
