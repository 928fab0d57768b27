package catalogue

import (
	"context"
	"database/sql"
	"fmt"
	"math"
)

// identitiesPerDevice bounds the agent ids kept for one device. Two already
// make a clone; more than this only somebody making them up has, and the oldest
// make room.
const identitiesPerDevice = 8

// flush writes the sightings buffered so far. Those of a batch that fails are
// gone: agents call again.
func (c *Catalogue) flush(ctx context.Context) error {
	seen := c.sightings.take()
	if len(seen) == 0 {
		return nil
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	caps := &caps{origins: map[string]int{}}
	err := c.write(ctx, func(b *batch) error {
		for id, r := range seen {
			if err := c.contact(b, id, r, caps); err != nil {
				return fmt.Errorf("write contact: %w", err)
			}
		}
		if err := c.trimStrangers(b, caps); err != nil {
			return err
		}
		return b.count("other_contacts", caps.strangers)
	})
	if err != nil {
		c.counters.sightingsDropped.Add(uint64(len(seen)))
		return err
	}
	c.counters.strangersDropped.Add(uint64(caps.strangers))
	c.counters.identitiesDropped.Add(uint64(caps.identities))
	return nil
}

// caps is what a batch of contacts knows of the bounds, and what they cost it.
type caps struct {
	origins               map[string]int // strangers by origin, where asked so far
	added                 bool           // a stranger
	strangers, identities int            // requests and rows given up
}

func (c *Catalogue) contact(b *batch, id identity, r *recent, caps *caps) error {
	key := []any{id.name, id.domain, id.agent, id.place}
	var row int64
	var device sql.NullInt64
	known, err := b.get(`SELECT id, device FROM contacts WHERE name_key = ? AND domain_key = ? AND agent_id = ? AND place = ?`, key, &row, &device)
	if err != nil {
		return err
	}
	if !known {
		if device, err = b.owner(id); err != nil {
			return err
		}
		if ok, err := c.admit(b, id, device, r, caps); err != nil || !ok {
			return err
		}
		if row, err = b.newContact(id, device, r); err != nil {
			return err
		}
	}
	if err := b.update(row, r); err != nil || !device.Valid {
		return err
	}
	_, err = b.exec(`UPDATE devices SET last_seen = max(last_seen, ?1), first_seen = min(first_seen, ?2) WHERE id = ?3`,
		millis(r.LastSeen), millis(r.FirstSeen), device)
	return err
}

// owner finds the device a contact is with: the one of its name and domain, else
// the one of its name whose domain no upload ever told.
func (b *batch) owner(id identity) (device sql.NullInt64, err error) {
	if id.name == "" {
		return device, nil
	}
	_, err = b.get(`SELECT id FROM devices WHERE name_key = ? AND domain_key IN (?, '') ORDER BY domain_key DESC LIMIT 1`,
		[]any{id.name, id.domain}, &device)
	return device, err
}

// admit applies the caps to a new identity.
func (c *Catalogue) admit(b *batch, id identity, device sql.NullInt64, r *recent, caps *caps) (bool, error) {
	if device.Valid {
		n, err := b.exec(`DELETE FROM contacts WHERE id IN
			(SELECT id FROM contacts WHERE device = ? ORDER BY last_seen DESC, id DESC LIMIT -1 OFFSET ?)`, device, identitiesPerDevice-1)
		caps.identities += int(n)
		return true, err
	}
	origin := peerGroup(r.Address)
	n, asked := caps.origins[origin]
	if !asked {
		if _, err := b.get(`SELECT count(*) FROM contacts WHERE device IS NULL AND origin = ?`, []any{origin}, &n); err != nil {
			return false, err
		}
	}
	if n >= c.o.StrangersPerPeer {
		caps.origins[origin] = n
		caps.strangers += int(r.Requests)
		return false, nil
	}
	caps.origins[origin], caps.added = n+1, true
	return true, nil
}

func (b *batch) newContact(id identity, device sql.NullInt64, r *recent) (row int64, err error) {
	_, err = b.get(`INSERT INTO contacts VALUES (NULL, ?,?,?,?,?,?,?,?,?, 0, 0, '', '', 0, '', -1, NULL, '', 0,0,'','', 0,0,'','') RETURNING id`,
		[]any{device, r.Domain, r.Name, id.domain, id.name, id.agent, id.place, peerGroup(r.Address), millis(r.FirstSeen)}, &row)
	return row, err
}

func (b *batch) update(row int64, r *recent) error {
	var skew sql.NullInt64
	if r.SkewKnown {
		skew = sql.NullInt64{Int64: r.Skew.Milliseconds(), Valid: true}
	}
	if _, err := b.exec(`UPDATE contacts SET requests = requests + ?, domain = ?, name = ?, last_seen = max(last_seen, ?), address = ?,
		version = ?, revision = ?, digest = ?, spool = ?, skew = ?, error = ? WHERE id = ?`,
		r.Requests, r.Domain, r.Name, millis(r.LastSeen), r.Address,
		r.Version, int64(min(r.Revision, math.MaxInt64)), r.Digest, r.Spool, skew, r.Error, row); err != nil {
		return err
	}
	if r.policy {
		a := r.Policy
		if _, err := b.exec(`UPDATE contacts SET policy_at = ?, policy_status = ?, policy_code = ?, policy_what = ? WHERE id = ?`,
			millis(a.At), a.Status, a.Code, a.What, row); err != nil {
			return err
		}
	}
	if r.refused {
		a := r.Refusal
		if _, err := b.exec(`UPDATE contacts SET refusal_at = ?, refusal_status = ?, refusal_code = ?, refusal_what = ? WHERE id = ?`,
			millis(a.At), a.Status, a.Code, a.What, row); err != nil {
			return err
		}
	}
	return nil
}

// trimStrangers makes the oldest strangers give way to the newest.
func (c *Catalogue) trimStrangers(b *batch, caps *caps) error {
	if !caps.added {
		return nil
	}
	n, err := b.exec(`DELETE FROM contacts WHERE id IN
		(SELECT id FROM contacts WHERE device IS NULL ORDER BY last_seen DESC LIMIT -1 OFFSET ?)`, c.o.MaxStrangers)
	caps.strangers += int(n)
	return err
}
