package beacon

import (
	"net/http"
	"net/netip"
	"strings"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
	"inventorybeacon/uploads/contact"
	"inventorybeacon/uploads/parent/hop"
	"inventorybeacon/uploads/parent/problem"
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

// sighted records a request that was refused.
func (a *Agents) sighted(r *http.Request, status int, code problem.Code) {
	var s catalogue.Sighting
	path := a.ownPath(r)
	switch {
	case r.Method == http.MethodPut || r.Method == http.MethodPost:
		parts, err := segments(path)
		what := strings.Join(parts, "/")
		if err != nil {
			what = escapeRest(path) // a bad name, as it came
		}
		s = a.sighting(r, uploads.Device{}, what)
		if n, err := uploads.ParseName(lastOf(parts)); err == nil {
			s.Device = deviceOf(n, s.Contact)
		}
		s.Act = catalogue.ActUpload
	default:
		t, err := aim(path, r.URL.Query())
		if (err != nil || !t.policy) && len(r.Header[contact.Header]) == 0 {
			return
		}
		s = a.sighting(r, t.device, t.path)
		if t.policy {
			s.Act = catalogue.ActPolicy
		}
	}
	s.Status, s.Code = status, string(code)
	a.see(r, s)
}

// ownPath is what a request asks for below one of our roots; nothing below others
// speaks of a device.
func (a *Agents) ownPath(r *http.Request) string {
	if root, _ := cutRoot(r); sameRoot(a.Upload, root) || sameRoot(a.Download, root) {
		return below(r)
	}
	return ""
}

func lastOf(parts []string) string {
	if len(parts) == 0 {
		return ""
	}
	return parts[len(parts)-1]
}

// see passes a sighting on, unless the disk is so full that it must not be
// written. What a beacon further down relays says nothing of when or from where
// the device itself called.
func (a *Agents) see(r *http.Request, s catalogue.Sighting) {
	if len(r.Header[hop.ViaHeader]) == 0 && !a.last() {
		a.Seen(s)
	}
}

// sighting is what every sighting has.
func (a *Agents) sighting(r *http.Request, d uploads.Device, what string) catalogue.Sighting {
	c := agentOf(r)
	// As paths and file names have it, so that it is one device everywhere.
	c.Name = uploads.EscapeDevice(c.Name)
	return catalogue.Sighting{At: time.Now().UTC(), Device: d, Peer: a.peer(r).String(), Contact: c, What: what}
}

// contacted records that an agent which names itself was here.
func (a *Agents) contacted(r *http.Request) {
	if len(r.Header[contact.Header]) == 0 {
		return
	}
	s := a.sighting(r, uploads.Device{}, r.URL.EscapedPath())
	s.Status = http.StatusOK
	a.see(r, s)
}
