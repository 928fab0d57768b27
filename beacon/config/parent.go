package config

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // where the machine has no time zones of its own

	"inventorybeacon/failover"
	"inventorybeacon/uploads/hours"
)

// DialectClassic is how an incumbent's server is spoken to.
const DialectClassic = "classic"

// A Parent is a beacon further up, or several of which one is enough.
type Parent struct {
	// URL is the parent's upload root, for example https://hub/ManageSoftRL. It
	// stands for Beacons with one entry.
	URL     string         `yaml:"url"`
	Beacons []ParentBeacon `yaml:"beacons"`
	// Selector orders the beacons whose priority is automatic, as in a bundle.
	Selector string `yaml:"selector"`
	CA       string `yaml:"ca"`
	// Dialect is empty for beacons of ours, or "classic".
	Dialect string `yaml:"dialect"`
	// User and Password are for HTTP Basic, towards an incumbent's server.
	User     string `yaml:"user"`
	Password Secret `yaml:"password"`
	// PasswordOverHTTP allows that the password is sent where everybody on the way
	// can read it.
	PasswordOverHTTP bool `yaml:"password_over_http"`
}

// A ParentBeacon is one of several.
type ParentBeacon struct {
	Name string `yaml:"name"`
	URL  string `yaml:"url"`
	// Priority: the lowest is tried first.
	Priority int `yaml:"priority"`
	// AutoPriority leaves the priority to the selector.
	AutoPriority bool `yaml:"auto_priority"`
	// Proxy is the URL of an HTTP proxy on the way there; none if empty.
	Proxy string `yaml:"proxy"`
}

// Locations returns the beacons as a failover list. A lone one has the name of
// its destination.
func (p *Parent) Locations(destination string) []failover.Location {
	if p.URL != "" {
		return []failover.Location{{Name: destination, Upload: root(p.URL), Proxy: failover.Direct}}
	}
	var out []failover.Location
	for _, b := range p.Beacons {
		out = append(out, failover.Location{
			Name: b.Name, Upload: root(b.URL), Priority: b.Priority, Auto: b.AutoPriority, Proxy: cmp.Or(b.Proxy, failover.Direct),
		})
	}
	return out
}

func root(address string) string { return strings.TrimSuffix(address, "/") }

// classicKinds are what an incumbent's server knows.
var classicKinds = []string{"Inventories", "UsageData", "Logs", "VdiAccess", "Discovery", "ActiveDirectory", "ActivityStatus", "SecurityLogs"}

// complete fills in what depends on other keys.
func (r *Relay) complete() {
	if r.Beacon != nil && r.Beacon.Dialect == DialectClassic && len(r.Kinds) == 0 {
		r.Kinds = slices.Clone(classicKinds)
	}
}

func (p *Parent) check(bad report, key string) {
	switch {
	case p.URL != "" && len(p.Beacons) > 0:
		bad(key, "has both url and beacons: one of them is enough")
	case len(p.Beacons) == 0:
		checkURL(bad, key+".url", p.URL)
	}
	p.checkBeacons(bad, key)
	if _, _, err := failover.ParseChain(p.Selector); err != nil {
		bad(key+".selector", "%v", err)
	}
	oneOf(bad, key+".dialect", p.Dialect, "", DialectClassic)
	p.checkCredentials(bad, key)
}

func (p *Parent) checkBeacons(bad report, key string) {
	names, roots := map[string]bool{}, map[string]bool{}
	for i, b := range p.Beacons {
		key := fmt.Sprintf("%s.beacons[%d]", key, i)
		switch {
		case b.Name == "":
			bad(key+".name", "is missing")
		case names[b.Name]:
			bad(key+".name", "%q is taken by another beacon of this destination", b.Name)
		}
		names[b.Name] = true
		checkURL(bad, key+".url", b.URL)
		if roots[root(b.URL)] && b.URL != "" {
			bad(key+".url", "is listed twice")
		}
		roots[root(b.URL)] = true
		if b.Proxy != "" {
			checkURL(bad, key+".proxy", b.Proxy)
		}
	}
}

func (p *Parent) checkCredentials(bad report, key string) {
	secret := p.Password.Reveal() != ""
	switch {
	case p.User == "" && !secret:
	case p.Dialect != DialectClassic:
		bad(key+".user", "user and password are for dialect: classic; a beacon of ours asks for none")
	case p.User == "" || !secret:
		bad(key, "needs both user and password, or neither")
	case !p.PasswordOverHTTP && slices.ContainsFunc(p.Locations(""), plainHTTP):
		bad(key+".password", "would be sent where everybody on the way can read it: use https, or say \"password_over_http: true\" if that is what you want")
	}
}

func plainHTTP(l failover.Location) bool {
	u, err := url.Parse(l.Upload)
	return err == nil && strings.EqualFold(u.Scheme, "http")
}

// minBandwidth keeps every transfer moving, however many share it: one that
// stands still is taken for dead.
const minBandwidth = 16 << 10

func (r *Relay) checkPace(bad report, key string) {
	if _, err := r.OpenHours(); err != nil {
		bad(key+".hours", "%v", err)
	}
	if r.Bandwidth != 0 && r.Bandwidth < minBandwidth {
		bad(key+".bandwidth", "must be at least 16KiB (a second), or 0 for no bound")
	}
}

// OpenHours returns when files go to the destination.
func (r *Relay) OpenHours() (hours.Hours, error) {
	zone := time.Local
	if r.TimeZone != "" {
		var err error
		if zone, err = time.LoadLocation(r.TimeZone); err != nil {
			return hours.Hours{}, fmt.Errorf("time_zone: %w", err)
		}
	}
	return hours.Parse(r.Hours, zone)
}
