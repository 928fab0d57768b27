package catalogue

import (
	"context"
	"fmt"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/fleet"
	"inventorybeacon/uploads/ledger"
	"inventorybeacon/uploads/spool"
)

// Index writes events, and how far they reach, in one transaction. Events at or
// below the position are passed over.
func (c *Catalogue) Index(ctx context.Context, events []Event) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.broken {
		c.backlog.fail()
		return nil
	}
	return c.index(ctx, events)
}

func (c *Catalogue) index(ctx context.Context, events []Event) error {
	position, indexed, devices := c.Position(), uint64(0), c.devices
	err := c.write(ctx, func(b *batch) error {
		introduced := introductions{}
		for _, e := range events {
			if e.Seq <= position {
				continue
			}
			if err := b.event(e, introduced); err != nil {
				return fmt.Errorf("index event %d (%s): %w", e.Seq, e.What, err)
			}
			position = e.Seq
			indexed++
		}
		if indexed == 0 {
			return nil
		}
		if err := c.introduce(b, introduced); err != nil {
			return fmt.Errorf("index devices: %w", err)
		}
		// The largest sequence number fits: it counts records since the first.
		_, err := b.exec(`INSERT OR REPLACE INTO meta VALUES ('position', ?)`, int64(position))
		return err
	})
	if err != nil {
		c.devices = devices // as before: nothing was written
		return err
	}
	c.position.Store(position)
	c.counters.indexed.Add(indexed)
	c.counters.batches.Add(1)
	return nil
}

func (b *batch) event(e Event, introduced introductions) error {
	switch e.What {
	case spool.Accepted:
		return b.accepted(e, introduced)
	case spool.Delivered:
		return b.delivered(e)
	case spool.Lost:
		return b.lost(e)
	case spool.Flagged:
		return b.flagged(e)
	case spool.Refused:
		return b.refused(e)
	case spool.Learnt:
		return b.learnt(e)
	case spool.Replaced:
		return b.replaced(e)
	}
	return nil // a later version's event
}

func (b *batch) accepted(e Event, introduced introductions) error {
	u, state := e.Upload, StateWaiting
	if e.Left { // if it was lost, that event follows
		state = StateDelivered
	}
	via, err := list(u.Via)
	if err != nil {
		return err
	}
	receipt, domainKey, nameKey := uploads.ReceiptID(u.Kind, u.Name, u.Digest), "", ""
	if !u.Device.IsZero() {
		domainKey, nameKey = keys(u.Device)
	}
	n, err := b.exec(`INSERT OR IGNORE INTO uploads (seq, receipt, kind, name, domain, device, domain_key, device_key,
		agent_id, sha256, bytes, received, modified, beacon, via, peer, recovered, state)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`,
		int64(u.Seq), receipt, u.Kind, u.Name.String(), u.Device.Domain, u.Device.Name, domainKey, nameKey,
		u.AgentID, u.Digest[:], u.Size, millis(u.Received), millis(u.Modified), u.Beacon, via, u.Peer, u.Recovered, state)
	if err != nil || n == 0 {
		return err
	}
	if !ledger.OfBeacon(u) && !fleet.OfBeacon(u) { // whose name is no device's
		introduced.add(u)
	}
	if u.Released {
		if err := b.released(receipt, u.Seq); err != nil {
			return err
		}
	}
	return b.closeLosses(receipt, u)
}

// closeLosses notes that bytes that were lost are here again.
func (b *batch) closeLosses(receipt string, u uploads.Upload) error {
	seq := u.Seq
	if _, err := b.exec(`UPDATE reported SET resent = ? WHERE receipt = ? AND resent = 0 AND at <= ?`, int64(seq), receipt, millis(u.Received)); err != nil {
		return err
	}
	n, err := b.exec(`UPDATE losses SET resent = ? WHERE receipt = ? AND resent = 0 AND seq < ?`, int64(seq), receipt, int64(seq))
	if err != nil || n == 0 {
		return err
	}
	_, err = b.exec(`UPDATE uploads SET resent = ? WHERE receipt = ? AND resent = 0 AND seq < ? AND reason <> ''`, int64(seq), receipt, int64(seq))
	return err
}

func (b *batch) delivered(e Event) error {
	custody, err := list(e.Custody)
	if err != nil {
		return err
	}
	seq, at := int64(e.Upload.Seq), millis(e.At)
	if e.Sink != "" {
		if _, err := b.exec(`INSERT OR IGNORE INTO deliveries VALUES (?, ?, ?, ?)`, seq, e.Sink, at, custody); err != nil {
			return err
		}
	}
	_, err = b.exec(`UPDATE uploads SET ended = max(ended, ?), state = CASE WHEN ? THEN 'delivered' ELSE state END
		WHERE seq = ? AND reason = ''`, at, e.Left, seq)
	return err
}

func (b *batch) lost(e Event) error {
	u, state, receipt, domainKey, nameKey := e.Upload, StateLost, "", "", ""
	if e.Reason == spool.LossRefused {
		state = StateQuarantined
	}
	if !u.Name.IsZero() {
		receipt = uploads.ReceiptID(u.Kind, u.Name, u.Digest)
	}
	if !u.Device.IsZero() {
		domainKey, nameKey = keys(u.Device)
	}
	if _, err := b.exec(`INSERT OR IGNORE INTO losses (seq, receipt, kind, name, domain, device, domain_key, device_key,
		sha256, bytes, received, at, reason, detail) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)`,
		int64(u.Seq), receipt, u.Kind, u.Name.String(), u.Device.Domain, u.Device.Name, domainKey, nameKey,
		u.Digest[:], u.Size, millis(u.Received), millis(e.At), e.Reason, e.Detail); err != nil {
		return err
	}
	if receipt == "" {
		if err := b.complete(u.Seq); err != nil {
			return err
		}
	}
	_, err := b.exec(`UPDATE uploads SET state = ?, ended = ?, reason = ?, detail = ? WHERE seq = ?`,
		state, millis(e.At), e.Reason, e.Detail, int64(u.Seq))
	return err
}

// complete fills in what damage left unknown of a loss, if the upload had been
// indexed before.
func (b *batch) complete(seq uint64) error {
	_, err := b.exec(`UPDATE losses SET (receipt, kind, name, domain, device, domain_key, device_key, sha256, bytes, received)
		= (SELECT receipt, kind, name, domain, device, domain_key, device_key, sha256, bytes, received FROM uploads WHERE seq = losses.seq)
		WHERE seq = ? AND EXISTS (SELECT 1 FROM uploads WHERE seq = losses.seq)`, int64(seq))
	return err
}
