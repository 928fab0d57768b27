package catalogue

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"inventorybeacon/uploads"
)

const deviceColumns = `SELECT id, domain, name, first_seen, last_seen, uploads, bytes FROM devices`

// deviceNamed selects by a whole name, or by a name and a domain. A device whose
// uploads never told a domain has the one it called with.
const deviceNamed = `name_key IN (?1, ?4) OR (name_key = ?2 AND (domain_key = ?3
	OR (domain_key = '' AND id IN (SELECT device FROM contacts WHERE domain_key = ?3))))`

// orders are the ways to sort devices. Nothing else ever reaches ORDER BY.
var orders = map[DeviceOrder]string{
	"":       ` ORDER BY name_key, domain_key`,
	ByName:   ` ORDER BY name_key, domain_key`,
	BySeen:   ` ORDER BY last_seen DESC, name_key, domain_key`,
	BySilent: ` ORDER BY last_seen, name_key, domain_key`,
	ByBytes:  ` ORDER BY bytes DESC, name_key, domain_key`,
}

// clones are the devices with several agent ids, and those one of whose ids goes
// by several names.
const clones = `id IN (SELECT device FROM contacts WHERE device IS NOT NULL AND agent_id <> '' GROUP BY device HAVING count(DISTINCT agent_id) > 1)
	OR id IN (SELECT device FROM contacts WHERE agent_id IN
		(SELECT agent_id FROM contacts WHERE agent_id <> '' GROUP BY agent_id
			HAVING count(DISTINCT name_key) > 1 OR count(DISTINCT nullif(domain_key, '')) > 1))`

// Devices lists devices.
func (c *Catalogue) Devices(ctx context.Context, f DeviceFilter) ([]Device, error) {
	order, ok := orders[f.Order]
	if !ok {
		return nil, fmt.Errorf("list devices: there is no order %q: use name, seen, silent or bytes", f.Order)
	}
	var q query
	q.add(deviceColumns)
	if f.Text != "" {
		text := strings.ToLower(f.Text)
		q.where(`instr(name_key, ?) OR instr(domain_key, ?) OR id IN (SELECT device FROM contacts WHERE address = ?)`, text, text, address(f.Text))
	}
	if !f.SilentSince.IsZero() {
		q.where(`last_seen < ?`, millis(f.SilentSince))
	}
	if !f.Since.IsZero() {
		q.where(`last_seen >= ?`, millis(f.Since))
	}
	if f.Clones {
		q.where(clones)
	}
	q.add(order)
	q.add(` LIMIT ? OFFSET ?`, limit(f.Limit), max(f.Offset, 0))
	return c.listDevices(ctx, &q)
}

// Device finds devices by name or DOMAIN/name in any case; if there is none,
// by the address or the agent id of their last contact. Finding none is no error.
func (c *Catalogue) Device(ctx context.Context, name string) ([]Device, error) {
	name = strings.TrimSpace(name)
	if name == "" {
		return nil, nil
	}
	var q query
	q.add(deviceColumns)
	whole, domain, base := names(name)
	q.where(deviceNamed, whole, base, domain, asTyped(name))
	q.add(orders[ByName])
	q.add(` LIMIT ?`, DefaultLimit)
	found, err := c.listDevices(ctx, &q)
	if err != nil || len(found) > 0 {
		return found, err
	}
	return c.listDevices(ctx, devicesThatCalled(name))
}

// devicesThatCalled selects by the address or the agent id of a contact.
func devicesThatCalled(name string) *query {
	q := &query{}
	q.add(deviceColumns)
	q.where(`id IN (SELECT device FROM contacts WHERE address = ? UNION SELECT device FROM contacts WHERE agent_id = ? AND agent_id <> '')`,
		address(name), name)
	q.add(orders[ByName])
	q.add(` LIMIT ?`, DefaultLimit)
	return q
}

// address brings an address to the form in which it is stored, if it is one.
func address(s string) string {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return s
	}
	return a.Unmap().String()
}

// deviceRow is a device with its row's number.
type deviceRow struct {
	id int64
	Device
}

func (c *Catalogue) listDevices(ctx context.Context, q *query) ([]Device, error) {
	rows, err := read(ctx, c, q, func(r row) (d deviceRow, err error) {
		var first, last int64
		err = r.Scan(&d.id, &d.Domain, &d.Name, &first, &last, &d.Uploads, &d.Bytes)
		d.FirstSeen, d.LastSeen = fromMillis(first), fromMillis(last)
		return d, err
	})
	found := []Device{} // a list in JSON, even if empty
	for _, d := range rows {
		if err == nil {
			err = c.describe(ctx, &d)
			found = append(found, d.Device)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	return found, nil
}

// describe adds what other tables know of a device.
func (c *Catalogue) describe(ctx context.Context, d *deviceRow) (err error) {
	var q query
	q.add(`SELECT kind, uploads, bytes, last, last_seq FROM activity WHERE device = ? ORDER BY kind`, d.id)
	d.Kinds, err = read(ctx, c, &q, func(r row) (a Activity, err error) {
		var last int64
		err = r.Scan(&a.Kind, &a.Uploads, &a.Bytes, &last, &a.LastSeq)
		a.Last = fromMillis(last)
		return a, err
	})
	if err != nil {
		return err
	}
	q = query{}
	q.add(contactColumns)
	q.where(`device = ?`, d.id)
	q.add(latestFirst)
	if d.Contacts, err = read(ctx, c, &q, scanContact); err != nil {
		return err
	}
	others, err := read(ctx, c, sameAgents(d.id), scanContact)
	d.CloneDetail = cloneDetail(d.Device, others)
	d.Clone = d.CloneDetail != ""
	if err != nil {
		return err
	}
	d.Told, err = c.toldOf(ctx, uploads.Device{Domain: d.Domain, Name: d.Name})
	d.heardBy(c.o.Beacon)
	return err
}

// sameAgents selects the contacts elsewhere under an agent id of a device.
func sameAgents(device int64) *query {
	q := &query{}
	q.add(contactColumns)
	q.where(`agent_id <> ''`) // has the index used
	q.where(`agent_id IN (SELECT agent_id FROM contacts WHERE device = ? AND agent_id <> '')`, device)
	q.where(`device IS NOT ?`, device)
	q.add(latestFirst)
	q.add(` LIMIT ?`, identitiesPerDevice)
	return q
}

const latestFirst = ` ORDER BY last_seen DESC, id DESC`

const contactColumns = `SELECT domain, name, agent_id, first_seen, last_seen, requests, address, version, revision, digest, spool, skew, error,
	policy_at, policy_status, policy_code, policy_what, refusal_at, refusal_status, refusal_code, refusal_what FROM contacts`

func scanContact(r row) (k Contact, err error) {
	var first, last, policy, refusal int64
	var skew sql.NullInt64
	err = r.Scan(&k.Domain, &k.Name, &k.AgentID, &first, &last, &k.Requests, &k.Address, &k.Version, &k.Revision, &k.Digest, &k.Spool, &skew, &k.Error,
		&policy, &k.Policy.Status, &k.Policy.Code, &k.Policy.What, &refusal, &k.Refusal.Status, &k.Refusal.Code, &k.Refusal.What)
	k.FirstSeen, k.LastSeen = fromMillis(first), fromMillis(last)
	k.Policy.At, k.Refusal.At = fromMillis(policy), fromMillis(refusal)
	k.Skew, k.SkewKnown = time.Duration(skew.Int64)*time.Millisecond, skew.Valid
	return k, err
}

// cloneDetail says what makes a device look like two machines; others are the
// contacts elsewhere that share an agent id with it. Empty means nothing does.
func cloneDetail(d Device, others []Contact) string {
	var ids []Contact
	for _, k := range d.Contacts {
		if k.AgentID != "" && !slices.ContainsFunc(ids, func(o Contact) bool { return o.AgentID == k.AgentID }) {
			ids = append(ids, k)
		}
	}
	var what []string
	if len(ids) > 1 {
		what = append(what, fmt.Sprintf("%d agent ids use this name: %s", len(ids), sightingsOf(ids)))
	}
	others = slices.DeleteFunc(others, func(k Contact) bool { return sameMachine(d, k) })
	if len(others) > 0 {
		what = append(what, "its agent id is also used by "+sightingsOf(others))
	}
	return strings.Join(what, "; ")
}

// sameMachine reports whether a contact may be d under a name with less in it: a
// domain that one of the two did not say is no contradiction.
func sameMachine(d Device, k Contact) bool {
	domain, name := keys(uploads.Device{Domain: d.Domain, Name: d.Name})
	otherDomain, otherName := keys(uploads.Device{Domain: k.Domain, Name: k.Name})
	return name == otherName && (domain == otherDomain || domain == "" || otherDomain == "")
}

func sightingsOf(contacts []Contact) string {
	var s []string
	for _, k := range contacts {
		s = append(s, fmt.Sprintf("%s of %s at %s, last %s", shortID(k.AgentID), uploads.Device{Domain: k.Domain, Name: k.Name},
			k.Address, k.LastSeen.Format(time.RFC3339)))
	}
	return strings.Join(s, ", ")
}

// shortID is enough of an agent id to tell two apart.
func shortID(id string) string {
	if r := []rune(id); len(r) > 8 {
		return string(r[:8]) + "…"
	}
	return id
}
