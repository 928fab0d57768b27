package beacon

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"time"

	"inventorybeacon/beacon/config"
)

// adminConnections bound each of the administrators' addresses.
const adminConnections = 256

// ownDescriptors of those the system grants are kept from the agents, for the
// spool, the relays, the catalogue and the administrators. Fewer serve more
// agents under a tight limit; more keep uploads going out while they do.
const ownDescriptors = 1024

// connections is how many agents may be connected to each of so many listeners
// under a limit of descriptors.
func connections(configured, listeners, limit int) int {
	return min(configured, (limit-min(ownDescriptors, limit/2))/listeners)
}

// openFronts binds the agents' addresses. Nobody is accepted before Run; who
// connects earlier waits in the system's queue.
func (b *Beacon) openFronts(context.Context) error {
	configured, limit := b.config.Limits.Connections, descriptors()
	most := connections(configured, len(b.config.Listeners), limit)
	if most < configured {
		b.log.Warn("fewer agents can be connected than limits.connections says: raise the limit of open files", "connections", most, "open_files", limit)
	}
	for _, l := range b.config.Listeners {
		secure, err := b.secure(l)
		if err != nil {
			return err
		}
		f, err := b.open(l.Address, b.crowd(most), secure, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b.agents.serve(w, r)
		}))
		if err != nil {
			return err
		}
		b.fronts = append(b.fronts, f)
		if l.TLS == nil {
			b.addresses.Agents = append(b.addresses.Agents, "http://"+f.ln.Addr().String())
		} else {
			b.addresses.AgentsTLS = append(b.addresses.AgentsTLS, "https://"+f.ln.Addr().String())
		}
		if !loopback(f.ln.Addr()) {
			b.log.Warn("whoever can connect is served: restrict who can, by firewall or address", "address", f.ln.Addr().String(), "access", l.Access)
		}
	}
	return nil
}

// crowd bounds one listener's connections. Unless it is configured, one address
// gets half of them, but for a proxy on this machine.
func (b *Beacon) crowd(most int) *crowd {
	perPeer, proxies := b.config.Limits.ConnectionsPerPeer, config.Addrs(b.config.TrustedProxies)
	preset := perPeer == 0
	if preset {
		perPeer = (most + 1) / 2
	}
	return newCrowd(most, max(0, perPeer), func(a netip.Addr) bool {
		return preset && a.IsLoopback() || slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(a) })
	})
}

func (b *Beacon) open(address string, c *crowd, secure *tls.Config, h http.Handler) (*front, error) {
	f, err := listen(address, c, secure, h, b.log)
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, func() error { return ignoreClosed(f.ln.Close()) })
	return f, nil
}

// secure returns the TLS side of a listener, nil if it has none.
func (b *Beacon) secure(l config.Listener) (*tls.Config, error) {
	if l.TLS == nil {
		return nil, nil
	}
	certificate, key, configured := b.config.KeyPair(l.TLS)
	if !configured {
		made, err := ensureSelfSigned(certificate, key, b.hosts(l.Address), time.Now())
		if err != nil {
			return nil, err
		}
		if made {
			b.log.Warn("made a certificate that only --ca makes agents trust: put your own in its place", "certificate", certificate, "key", key)
		}
	}
	pair, err := loadKeyPair(certificate, key, b.log, b.metrics.reloadErrors.Inc)
	if err != nil {
		return nil, err
	}
	b.certificates = append(b.certificates, pair)
	return tlsConfig(pair, l.TLS.MinVersion), nil
}

// hosts are the names by which this machine may be called.
func (b *Beacon) hosts(address string) []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, name)
	}
	if host, _, err := net.SplitHostPort(address); err == nil && host != "" {
		if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() && !ip.IsLoopback() {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

func loopback(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return ok && t.IP.IsLoopback()
}

// openAdmin binds the administrators' addresses.
func (b *Beacon) openAdmin(context.Context) error {
	admin := &Admin{Ready: b.Ready, Metrics: b.metrics}
	f, err := b.open(b.config.Admin, newCrowd(adminConnections, 0, nil), nil, admin.Handler())
	if err != nil {
		return fmt.Errorf("administrators' address: %w", err)
	}
	b.admin = append(b.admin, f)
	b.addresses.Admin = "http://" + f.ln.Addr().String()
	if b.config.Metrics == "" {
		return nil
	}
	m, err := b.open(b.config.Metrics, newCrowd(adminConnections, 0, nil), nil, admin.MetricsHandler())
	if err != nil {
		return fmt.Errorf("metrics address: %w", err)
	}
	b.admin = append(b.admin, m)
	b.addresses.Metrics = "http://" + m.ln.Addr().String()
	return nil
}
