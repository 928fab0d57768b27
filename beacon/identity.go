package beacon

import (
	"net/http"
	"net/netip"
	"strings"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/contact"
)

// agentOf reads the Beacon-Agent header; one that cannot be read says nothing.
func agentOf(r *http.Request) contact.Contact {
	lines := r.Header[contact.Header]
	if len(lines) == 0 {
		return contact.Contact{Spool: contact.SpoolUnknown}
	}
	c, _ := contact.Parse(lines)
	return c
}

// deviceOf says whose file it is: the name gives the device, the agent's
// header the domain. A name that names no device leaves it unknown.
func deviceOf(n uploads.Name, c contact.Contact) uploads.Device {
	p := n.Parts()
	if p.Device == "" {
		return uploads.Device{}
	}
	return uploads.Device{Domain: c.Domain, Name: p.Device}
}

// peer returns the address a request comes from: the connection's, unless that
// is a configured proxy, which is believed about the one before it, and so on.
func (a *Agents) peer(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := ap.Addr().Unmap()
	if len(a.Proxies) == 0 || !a.trusted(addr) {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return addr
		}
		addr = next.Unmap().WithZone("")
		if !a.trusted(addr) {
			return addr
		}
	}
	return addr
}

func (a *Agents) trusted(addr netip.Addr) bool {
	for _, p := range a.Proxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
