package catalogue

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/fleet"
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
	domainKey               string
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
func (s *standing) join(o *standing) {
	if o.seen.After(s.seen) {
		s.seen, s.skew, s.beacon, s.heard, s.silent = o.seen, o.skew, o.beacon, o.heard, o.silent
	}
	if o.device {
		s.device, s.domain, s.name, s.beacon = true, o.domain, o.name, cmp.Or(s.beacon, o.beacon)
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
	known := &standings{by: make(map[string][]standing, len(expected)), fresh: millis(now.Add(-while)) + 1, written: len(expected) == 0}
	err := c.standings(ctx, known, now)
	if err != nil {
		return nil, fmt.Errorf("list late devices: %w", err)
	}
	all, out := known.by, []Late{}
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
		for i := range all[name] {
			if o := &all[name][i]; domain == "" || o.domainKey == domain || o.domainKey == "" {
				s.join(o)
			}
		}
		add(d.Domain, d.Name, s)
	}
	if len(expected) == 0 {
		for _, domains := range all {
			for _, s := range domains {
				if s.device {
					add(s.domain, s.name, s)
				}
			}
		}
	}
	return out, nil
}

// standings are by the keys of names; of most names there is one, in one domain.
type standings struct {
	fresh   int64 // an inventory since then ends all questions
	written bool  // names are wanted as they are written
	mu      sync.Mutex
	by      map[string][]standing
}

func (all *standings) join(nameKey string, o standing) {
	all.mu.Lock()
	defer all.mu.Unlock()
	same := all.by[nameKey]
	for i := range same {
		if same[i].domainKey == o.domainKey {
			same[i].join(&o)
			return
		}
	}
	all.by[nameKey] = append(same, o)
}

// standings reads what is known of all devices, at once: a query for each would
// take as many seconds as there are tens of thousands. For the same reason rows
// hold numbers rather than JSON, other uploads are looked up only where the
// inventory is old, and two readers share the work; the third is left to others.
func (c *Catalogue) standings(ctx context.Context, all *standings, now time.Time) error {
	var devices error
	var other sync.WaitGroup
	other.Go(func() { devices = c.deviceStandings(ctx, all) })
	err := c.contactStandings(ctx, all)
	if err == nil {
		err = c.toldStandings(ctx, all, now)
	}
	other.Wait()
	return cmp.Or(err, devices)
}

func (c *Catalogue) deviceStandings(ctx context.Context, all *standings) error {
	var q query
	q.add(`SELECT d.name_key, d.domain_key`)
	if all.written {
		q.add(`, d.domain, d.name`)
	} else {
		q.add(`, NULL, NULL`)
	}
	q.add(`, CASE WHEN i.last >= ? THEN i.last ELSE coalesce((SELECT max(last) FROM activity WHERE device = d.id), 0) END, coalesce(i.last, 0)
		FROM devices AS d LEFT JOIN activity AS i ON i.device = d.id AND i.kind = ?`, all.fresh, inventories)
	if !all.written {
		q.where(`d.uploads > 0`) // of the others nothing is known by them alone
	}
	_, err := read(ctx, c, &q, func(r row) (none struct{}, err error) {
		var name string
		var domainWritten, nameWritten sql.NullString
		var upload, inventory int64
		s := standing{device: true, beacon: c.o.Beacon}
		if err = r.Scan(&name, &s.domainKey, &domainWritten, &nameWritten, &upload, &inventory); err != nil {
			return none, err
		}
		s.domain, s.name, s.upload, s.inventory = domainWritten.String, nameWritten.String, fromMillis(upload), fromMillis(inventory)
		all.join(name, s)
		return none, nil
	})
	return err
}

func (c *Catalogue) contactStandings(ctx context.Context, all *standings) error {
	var q query
	q.add(`SELECT name_key, domain_key, last_seen, coalesce(skew, 0), refusal_at, refusal_code FROM contacts WHERE name_key <> ''`)
	_, err := read(ctx, c, &q, func(r row) (none struct{}, err error) {
		var name string
		var seen, skew, refused int64
		s := standing{beacon: c.o.Beacon}
		if err = r.Scan(&name, &s.domainKey, &seen, &skew, &refused, &s.refused.Code); err != nil {
			return none, err
		}
		s.seen, s.refused.At, s.skew = fromMillis(seen), fromMillis(refused), time.Duration(skew)*time.Millisecond
		all.join(name, s)
		return none, nil
	})
	return err
}

func (c *Catalogue) toldStandings(ctx context.Context, all *standings, now time.Time) error {
	words, err := c.Words(ctx)
	if err != nil {
		return err
	}
	said := map[[2]string]Word{}
	for _, w := range words {
		said[[2]string{w.Beacon, w.Child}] = w
	}
	var q query
	q.add(`SELECT name_key, domain_key, beacon, child, at, seen, inventory, uploaded, refused, refused_code, skew,
		CASE WHEN inventory IS NULL THEN facts END FROM told`)
	_, err = read(ctx, c, &q, func(r row) (none struct{}, err error) {
		name, child, s, err := scanStanding(r)
		if err != nil {
			return none, err
		}
		if w, ok := said[[2]string{s.beacon, child}]; ok {
			s.heard, s.silent = w.At, w.Silent(now)
		}
		all.join(name, s)
		return none, nil
	})
	return err
}

// scanStanding reads what was told of a device.
func scanStanding(r row) (name, child string, s standing, err error) {
	var at, seen int64
	var inventory, upload, refused, skew sql.NullInt64
	var code, facts sql.NullString
	if err = r.Scan(&name, &s.domainKey, &s.beacon, &child, &at, &seen, &inventory, &upload, &refused, &code, &skew, &facts); err != nil {
		return "", "", s, err
	}
	s.heard, s.seen, s.inventory, s.upload = fromMillis(at), fromMillis(seen), fromMillis(inventory.Int64), fromMillis(upload.Int64)
	s.refused.At, s.refused.Code, s.skew = fromMillis(refused.Int64), code.String, time.Duration(skew.Int64)*time.Second
	if !facts.Valid {
		return name, child, s, nil
	}
	var d fleet.Device
	err = json.Unmarshal([]byte(facts.String), &d)
	k := contactOf(d)
	s.inventory, s.upload, s.refused, s.skew = d.Uploads[inventories], newestUpload(Told{Uploads: d.Uploads}), k.Refusal, k.Skew
	return name, child, s, err
}

// inventories is the kind that every device should send.
const inventories = "Inventories"
