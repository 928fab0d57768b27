package catalogue

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"time"

	"inventorybeacon/uploads/fleet"
)

// Changes returns what tells this index from one made in its place, and the number
// of the last change of a contact's state.
func (c *Catalogue) Changes(ctx context.Context) (index, last int64, err error) {
	err = c.view(ctx, func(db *sql.DB) error {
		return db.QueryRowContext(ctx, `SELECT coalesce((SELECT value FROM meta WHERE key = 'since'), 0),
			coalesce((SELECT value FROM meta WHERE key = 'changes'), 0)`).Scan(&index, &last)
	})
	if err != nil {
		return 0, 0, fmt.Errorf("read changes of contacts: %w", err)
	}
	return index, last, nil
}

// heardPage is how many contacts are read at once: while they are read, one reader
// is busy, and none between two pages.
const heardPage = 1000

// Heard passes on what this beacon itself heard of devices, in no particular order.
func (c *Catalogue) Heard(ctx context.Context, s fleet.Span, f func(fleet.Device) error) error {
	for after := int64(0); ; {
		page, err := read(ctx, c, heardQuery(s, after), scanHeard)
		if err != nil {
			return fmt.Errorf("read contacts: %w", err)
		}
		for _, h := range page {
			d := wordOf(h.Contact)
			if d.Uploads, err = c.newestOf(ctx, h.device); err != nil {
				return fmt.Errorf("read contacts: %w", err)
			}
			if err := f(d); err != nil {
				return err
			}
		}
		if len(page) < heardPage {
			return nil
		}
		after = page[len(page)-1].id
	}
}

type heard struct {
	id     int64
	device sql.NullInt64
	Contact
}

func heardQuery(s fleet.Span, after int64) *query {
	q := &query{}
	q.add(`SELECT id, device, domain, name, agent_id, last_seen, address, version, revision, spool, skew, error,
		policy_at, policy_status, policy_code, policy_what, refusal_at, refusal_status, refusal_code, refusal_what FROM contacts`)
	q.where(`id > ? AND name_key <> ''`, after)
	switch {
	case s.Full:
	case s.Contacts.IsZero():
		q.where(`id IN (SELECT contact FROM news WHERE change > ?)`, s.Change)
	default:
		q.where(`last_seen >= ? OR id IN (SELECT contact FROM news WHERE change > ?)`, millis(s.Contacts), s.Change)
	}
	q.add(` ORDER BY id LIMIT ?`, heardPage)
	return q
}

func scanHeard(r row) (h heard, err error) {
	var last, policy, refusal int64
	var skew sql.NullInt64
	k := &h.Contact
	err = r.Scan(&h.id, &h.device, &k.Domain, &k.Name, &k.AgentID, &last, &k.Address, &k.Version, &k.Revision, &k.Spool, &skew, &k.Error,
		&policy, &k.Policy.Status, &k.Policy.Code, &k.Policy.What, &refusal, &k.Refusal.Status, &k.Refusal.Code, &k.Refusal.What)
	k.LastSeen, k.Policy.At, k.Refusal.At = fromMillis(last), fromMillis(policy), fromMillis(refusal)
	k.Skew, k.SkewKnown = time.Duration(skew.Int64)*time.Millisecond, skew.Valid
	return h, err
}

// wordOf is what a beacon above is told of a contact.
func wordOf(k Contact) fleet.Device {
	d := fleet.Device{
		Name: k.Name, Domain: k.Domain, AgentID: k.AgentID, Seen: k.LastSeen, Address: k.Address,
		Version: k.Version, Revision: k.Revision, Error: k.Error, Policy: toldAnswer(k.Policy), Refusal: toldAnswer(k.Refusal),
	}
	if k.Spool >= 0 {
		d.Spool = &k.Spool
	}
	if k.SkewKnown {
		seconds := int64(k.Skew / time.Second)
		d.Skew = &seconds
	}
	return d
}

func toldAnswer(a Answer) *fleet.Answer {
	if a.IsZero() {
		return nil
	}
	return &fleet.Answer{At: a.At, Status: a.Status, Code: a.Code, What: a.What}
}

// contactOf is the contact that a beacon below told of.
func contactOf(d fleet.Device) Contact {
	k := Contact{
		Domain: d.Domain, Name: d.Name, AgentID: d.AgentID, LastSeen: d.Seen, Address: d.Address,
		Version: d.Version, Revision: d.Revision, Error: d.Error, Spool: -1,
	}
	if d.Spool != nil {
		k.Spool = *d.Spool
	}
	if k.SkewKnown = d.Skew != nil; k.SkewKnown {
		k.Skew = time.Duration(*d.Skew) * time.Second
	}
	a, b := cmp.Or(d.Policy, &fleet.Answer{}), cmp.Or(d.Refusal, &fleet.Answer{})
	k.Policy, k.Refusal = Answer(*a), Answer(*b)
	return k
}

func (c *Catalogue) newestOf(ctx context.Context, device sql.NullInt64) (map[string]time.Time, error) {
	if !device.Valid {
		return nil, nil
	}
	var q query
	q.add(`SELECT kind, last FROM activity WHERE device = ?`, device.Int64)
	type newest struct {
		kind string
		last int64
	}
	rows, err := read(ctx, c, &q, func(r row) (n newest, err error) { return n, r.Scan(&n.kind, &n.last) })
	found := make(map[string]time.Time, len(rows))
	for _, n := range rows {
		found[n.kind] = fromMillis(n.last)
	}
	return found, err
}
