// Package dial is the only way out of a beacon: it connects to the configured
// upstreams and to nothing else, so that what the firewall team was told is
// true whatever a sink, a redirect or a library tries.
package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrRefused means that the address is not one a beacon may connect to.
var ErrRefused = errors.New("dial refused")

// timeout is how long a connection may take to come about. Shorter gives up on
// slow lines; longer holds up a relay that has other work.
const timeout = 10 * time.Second

// A Guard connects to listed upstreams only. The zero Guard connects to
// nothing.
type Guard struct {
	upstreams []string // host:port, lower case
	networks  []netip.Prefix
	refused   atomic.Int64
	// Refuse, if set, is told of every refusal. Set it before the first dial.
	Refuse func(address, reason string)
}

// New returns a guard that lets through to the hosts and ports of upstreams,
// which are http or https URLs, unless their address lies in one of the
// networks, where the agents are.
func New(upstreams []string, networks []netip.Prefix) (*Guard, error) {
	g := &Guard{networks: slices.Clone(networks)}
	for _, raw := range upstreams {
		u, err := url.Parse(raw)
		if err != nil || u.Hostname() == "" {
			return nil, fmt.Errorf("upstream %q is no URL", raw)
		}
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		g.upstreams = append(g.upstreams, normal(net.JoinHostPort(u.Hostname(), port)))
	}
	slices.Sort(g.upstreams)
	g.upstreams = slices.Compact(g.upstreams)
	return g, nil
}

func normal(address string) string { return strings.ToLower(strings.TrimSuffix(address, ".")) }

// Upstreams returns every host:port the guard lets through to.
func (g *Guard) Upstreams() []string { return slices.Clone(g.upstreams) }

// Refused returns how many dials were refused so far.
func (g *Guard) Refused() int64 { return g.refused.Load() }

// DialContext is for [net/http.Transport]. Where a name has several addresses
// the forbidden ones among them are passed over.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if !slices.Contains(g.upstreams, normal(address)) {
		return nil, g.refuse(address, "not a configured upstream")
	}
	d := net.Dialer{Timeout: timeout, ControlContext: g.control}
	return d.DialContext(ctx, network, address)
}

// control sees the address after names were resolved, right before connecting.
func (g *Guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return g.refuse(address, "not an address")
	}
	for _, n := range g.networks {
		if n.Contains(ap.Addr().Unmap().WithZone("")) {
			return g.refuse(address, "in an agent network")
		}
	}
	return nil
}

func (g *Guard) refuse(address, reason string) error {
	g.refused.Add(1)
	if g.Refuse != nil {
		g.Refuse(address, reason)
	}
	return fmt.Errorf("%w: %s is %s", ErrRefused, address, reason)
}
