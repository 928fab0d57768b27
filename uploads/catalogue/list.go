package catalogue

import (
	"context"
	"fmt"
	"strings"
	"time"

	"inventorybeacon/uploads"
)

const uploadColumns = `SELECT seq, receipt, kind, name, device, domain, agent_id, sha256, bytes, received, modified, beacon, via, peer,
	recovered, state, ended, reason, detail, resent, flag,
	EXISTS (SELECT 1 FROM kept WHERE kept.receipt = uploads.receipt) FROM uploads`

// Uploads and losses have the same columns for their device.
const (
	uploadByName = `device_key IN (?, ?) AND device_key <> ''`
	uploadByBoth = `device_key = ? AND domain_key = ? AND device_key <> ''`
)

// Uploads lists uploads, newest first.
func (c *Catalogue) Uploads(ctx context.Context, f UploadFilter) ([]Upload, error) {
	return c.uploads(ctx, f.query())
}

func (f UploadFilter) query() *query {
	q := &query{}
	q.add(uploadColumns)
	if f.Device != "" {
		q.whereDevice(f.Device)
	}
	if f.Kind != "" {
		q.where(`kind = ?`, f.Kind)
	}
	if !f.Since.IsZero() {
		q.where(`received >= ?`, millis(f.Since))
	}
	if f.Flagged {
		q.where(`flag <> ''`)
	}
	if f.Kept {
		q.where(`receipt IN (SELECT receipt FROM kept)`)
	}
	if f.State != "" {
		q.where(`state = ? AND resent = 0`, f.State)
	}
	if f.State != "" && f.State != StateDelivered {
		q.where(`state <> 'delivered'`) // has the index of the few used
	}
	q.add(` ORDER BY received DESC, seq DESC LIMIT ?`, limit(f.Limit))
	return q
}

// Upload finds the newest upload with a receipt identifier, or the only one
// whose identifier begins so. The error matches [uploads.ErrUnknown] or
// [ErrAmbiguous].
func (c *Catalogue) Upload(ctx context.Context, receipt string) (Upload, error) {
	prefix := strings.ToLower(strings.TrimSpace(receipt))
	if prefix == "" || strings.Trim(prefix, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return Upload{}, fmt.Errorf("%w: %q is not a receipt", uploads.ErrUnknown, receipt)
	}
	var q query
	q.add(uploadColumns)
	q.where(`receipt >= ? AND receipt < ?`, prefix, prefix+"{") // the character after z
	q.add(` ORDER BY receipt, seq DESC LIMIT 50`)
	found, err := c.uploads(ctx, &q)
	switch {
	case err != nil:
		return Upload{}, err
	case len(found) == 0:
		return Upload{}, fmt.Errorf("%w: no receipt begins with %q", uploads.ErrUnknown, prefix)
	case found[len(found)-1].Receipt != found[0].Receipt:
		return Upload{}, fmt.Errorf("%w: several receipts begin with %q: give more of it", ErrAmbiguous, prefix)
	}
	return found[0], nil
}

func (c *Catalogue) uploads(ctx context.Context, q *query) ([]Upload, error) {
	found, err := read(ctx, c, q, scanUpload)
	if err == nil {
		err = c.attach(ctx, found)
	}
	if err != nil {
		return nil, fmt.Errorf("list uploads: %w", err)
	}
	return found, nil
}

func scanUpload(r row) (u Upload, err error) {
	var digest []byte
	var received, modified, ended int64
	var via string
	if err := r.Scan(&u.Seq, &u.Receipt, &u.Kind, &u.Name, &u.Device, &u.Domain, &u.AgentID, &digest, &u.Bytes, &received, &modified,
		&u.Beacon, &via, &u.Peer, &u.Recovered, &u.State, &ended, &u.Reason, &u.Detail, &u.Resent, &u.Flag, &u.Kept); err != nil {
		return u, err
	}
	copy(u.SHA256[:], digest)
	u.Received, u.Modified = fromMillis(received), fromMillis(modified)
	if u.State != StateWaiting {
		u.Ended = fromMillis(ended)
	}
	u.Via, err = fromList[string](via)
	return u, err
}

// Counts is the catalogue in numbers.
type Counts struct {
	Uploads       map[State]int64 `json:"uploads"`
	Bytes         map[State]int64 `json:"bytes"`
	OldestWaiting time.Time       `json:"oldest_waiting,omitzero"`
	Devices       int64           `json:"devices"`
	// Strangers are names and addresses that called but had no upload accepted.
	Strangers  int64 `json:"strangers"`
	Losses     int64 `json:"losses"`
	OpenLosses int64 `json:"open_losses"`     // whose bytes did not arrive again
	Reported   int64 `json:"reported_losses"` // of other beacons, and agents
	Kept       int64 `json:"kept"`            // files in kept/
	// OtherUploads are accepted uploads whose device was over a cap, and
	// OtherContacts requests of strangers over one: the row for all the rest.
	OtherUploads  int64  `json:"other_uploads"`
	OtherContacts int64  `json:"other_contacts"`
	Position      uint64 `json:"position"`
	// Since is when this index began to hear contacts.
	Since time.Time `json:"since"`
}

// Counts counts. It reads every upload that is listed, so it is for a person who
// asks and not for every request.
func (c *Catalogue) Counts(ctx context.Context) (Counts, error) {
	n := Counts{Uploads: map[State]int64{}, Bytes: map[State]int64{}}
	for _, s := range States {
		n.Uploads[s], n.Bytes[s] = 0, 0
	}
	var states, rest query
	states.add(`SELECT state, count(*), sum(bytes), min(received) FROM uploads WHERE resent = 0 GROUP BY state`)
	_, err := read(ctx, c, &states, func(r row) (_ struct{}, err error) {
		var state State
		var count, bytes, oldest int64
		err = r.Scan(&state, &count, &bytes, &oldest)
		n.Uploads[state], n.Bytes[state] = count, bytes
		if state == StateWaiting {
			n.OldestWaiting = fromMillis(oldest)
		}
		return
	})
	if err != nil {
		return Counts{}, fmt.Errorf("count uploads: %w", err)
	}
	rest.add(`SELECT (SELECT count(*) FROM devices), (SELECT count(*) FROM contacts WHERE device IS NULL),
		(SELECT count(*) FROM losses), (SELECT count(*) FROM losses WHERE resent = 0),
		(SELECT count(*) FROM reported), (SELECT count(*) FROM kept),
		coalesce((SELECT value FROM meta WHERE key = 'other_uploads'), 0), coalesce((SELECT value FROM meta WHERE key = 'other_contacts'), 0),
		coalesce((SELECT value FROM meta WHERE key = 'position'), 0), coalesce((SELECT value FROM meta WHERE key = 'since'), 0)`)
	_, err = read(ctx, c, &rest, func(r row) (_ struct{}, err error) {
		var since int64
		err = r.Scan(&n.Devices, &n.Strangers, &n.Losses, &n.OpenLosses, &n.Reported, &n.Kept, &n.OtherUploads, &n.OtherContacts, &n.Position, &since)
		n.Since = fromMillis(since)
		return
	})
	if err != nil {
		return Counts{}, fmt.Errorf("count devices: %w", err)
	}
	return n, nil
}
