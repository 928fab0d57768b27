package catalogue

import (
	"context"
	"fmt"
	"time"

	"inventorybeacon/uploads"
)

// A Cause says why a device that should have reported has not.
type Cause string

// The causes, the one that says most first.
const (
	CauseNever     Cause = "never-seen"      // no beacon ever heard of it
	CauseClock     Cause = "clock-fault"     // its clock is more than a day off
	CauseRefused   Cause = "refused"         // its last upload was turned away
	CauseBeacon    Cause = "beacon-silent"   // the beacon that hears it is not heard of
	CauseStopped   Cause = "stopped-polling" // it is not heard of any longer
	CauseNoUpload  Cause = "no-upload"       // it calls, and nothing was ever accepted
	CauseInventory Cause = "inventory-late"  // it calls and uploads, but no inventory
)

// Causes lists them.
var Causes = []Cause{CauseNever, CauseNoUpload, CauseRefused, CauseInventory, CauseClock, CauseBeacon, CauseStopped}

// clockFault is how far off a clock is that certificates and policy fail for.
const clockFault = 24 * time.Hour

// DefaultLate is how old the newest inventory of a device may be: as long as a
// device may be silent.
const DefaultLate = silentAfter

// A Late device should have reported.
type Late struct {
	Name   string `json:"name"`
	Domain string `json:"domain"`
	Cause  Cause  `json:"cause"`
	// Code is that of the refusal, if that is the cause.
	Code      string    `json:"code,omitempty"`
	Seen      time.Time `json:"last_seen,omitzero"`
	Inventory time.Time `json:"last_inventory,omitzero"`
	// Beacon heard it last, as of Heard if it is another one than this.
	Beacon string    `json:"beacon,omitempty"`
	Heard  time.Time `json:"heard,omitzero"`
}

// A standing is what the whole tree knows of one name.
type standing struct {
	domain, name            string
	seen, inventory, upload time.Time
	refused                 Answer
	skew                    time.Duration
	beacon                  string
	heard                   time.Time
	silent                  bool // its beacon is
	device                  bool
}

// join adds what is known of a name in another domain, or of another identity.
func (s *standing) join(o standing) {
	if o.seen.After(s.seen) {
		s.seen, s.skew, s.beacon, s.heard, s.silent = o.seen, o.skew, o.beacon, o.heard, o.silent
	}
	s.inventory, s.upload = later(s.inventory, o.inventory), later(s.upload, o.upload)
	if o.refused.At.After(s.refused.At) {
		s.refused = o.refused
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// cause says why there is no inventory of the last while, or nothing if there is one.
func (s standing) cause(now time.Time, while time.Duration) (Cause, string) {
	switch {
	case s.seen.IsZero() && s.upload.IsZero():
		return CauseNever, ""
	case now.Sub(s.inventory) <= while:
		return "", ""
	case s.skew.Abs() > clockFault:
		return CauseClock, ""
	case s.refused.At.After(s.upload):
		return CauseRefused, s.refused.Code
	case s.silent:
		return CauseBeacon, ""
	case now.Sub(s.seen) > while:
		return CauseStopped, ""
	case s.upload.IsZero():
		return CauseNoUpload, ""
	}
	return CauseInventory, ""
}

// Late returns the devices of which there is no inventory of the last while, with
// the cause; of those that are expected, or, if that list is empty, of those that
// are known.
func (c *Catalogue) Late(ctx context.Context, expected []uploads.Device, while time.Duration, now time.Time) ([]Late, error) {
	all, err := c.standings(ctx, now)
	if err != nil {
		return nil, fmt.Errorf("list late devices: %w", err)
	}
	out := []Late{}
	add := func(domain, name string, s standing) {
		if cause, code := s.cause(now, while); cause != "" {
			out = append(out, Late{
				Name: name, Domain: domain, Cause: cause, Code: code, Seen: s.seen, Inventory: s.inventory, Beacon: s.beacon, Heard: s.heard,
			})
		}
	}
	for _, d := range expected {
		domain, name := keys(d)
		var s standing
		for key, o := range all[name] {
			if domain == "" || key == domain || key == "" {
				s.join(*o)
			}
		}
		add(d.Domain, d.Name, s)
	}
	if len(expected) == 0 {
		for _, domains := range all {
			for _, s := range domains {
				if s.device {
					add(s.domain, s.name, *s)
				}
			}
		}
	}
	return out, nil
}

// standings are by the keys of name and domain.
type standings map[string]map[string]*standing

func (all standings) join(nameKey, domainKey string, o standing) {
	if all[nameKey] == nil {
		all[nameKey] = map[string]*standing{}
	}
	s := all[nameKey][domainKey]
	if s == nil {
		all[nameKey][domainKey] = &o
		return
	}
	s.join(o)
}

// standings reads what is known of all devices, at once: a query for each would
// take as many seconds as there are tens of thousands.
func (c *Catalogue) standings(ctx context.Context, now time.Time) (standings, error) {
	all := standings{}
	for _, f := range []func(context.Context, standings, time.Time) error{c.deviceStandings, c.contactStandings, c.toldStandings} {
		if err := f(ctx, all, now); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (c *Catalogue) deviceStandings(ctx context.Context, all standings, _ time.Time) error {
	var q query
	q.add(`SELECT d.name_key, d.domain_key, d.domain, d.name,
		coalesce(max(a.last), 0), coalesce(max(CASE WHEN a.kind = 'Inventories' THEN a.last END), 0)
		FROM devices AS d LEFT JOIN activity AS a ON a.device = d.id GROUP BY d.id`)
	_, err := read(ctx, c, &q, func(r row) (none struct{}, err error) {
		var name, domain string
		var upload, inventory int64
		s := standing{device: true, beacon: c.o.Beacon}
		if err = r.Scan(&name, &domain, &s.domain, &s.name, &upload, &inventory); err != nil {
			return none, err
		}
		s.upload, s.inventory = fromMillis(upload), fromMillis(inventory)
		all.join(name, domain, s)
		return none, nil
	})
	return err
}

func (c *Catalogue) contactStandings(ctx context.Context, all standings, _ time.Time) error {
	var q query
	q.add(`SELECT name_key, domain_key, last_seen, coalesce(skew, 0), refusal_at, refusal_status, refusal_code FROM contacts WHERE name_key <> ''`)
	_, err := read(ctx, c, &q, func(r row) (none struct{}, err error) {
		var name, domain string
		var seen, skew, refused int64
		s := standing{beacon: c.o.Beacon}
		if err = r.Scan(&name, &domain, &seen, &skew, &refused, &s.refused.Status, &s.refused.Code); err != nil {
			return none, err
		}
		s.seen, s.refused.At, s.skew = fromMillis(seen), fromMillis(refused), time.Duration(skew)*time.Millisecond
		all.join(name, domain, s)
		return none, nil
	})
	return err
}

func (c *Catalogue) toldStandings(ctx context.Context, all standings, now time.Time) error {
	words, err := c.Words(ctx)
	if err != nil {
		return err
	}
	silent := map[[2]string]bool{}
	for _, w := range words {
		silent[[2]string{w.Beacon, w.Child}] = w.Silent(now)
	}
	var q query
	q.add(toldColumns)
	_, err = read(ctx, c, &q, func(r row) (none struct{}, err error) {
		t, err := scanTold(r)
		if err != nil {
			return none, err
		}
		domain, name := keys(uploads.Device{Domain: t.Domain, Name: t.Name})
		all.join(name, domain, standing{
			seen: t.LastSeen, skew: t.Skew, refused: t.Refusal, inventory: t.Uploads["Inventories"], upload: newestUpload(t),
			beacon: t.Beacon, heard: t.Heard, silent: silent[[2]string{t.Beacon, t.Child}],
		})
		return none, nil
	})
	return err
}
