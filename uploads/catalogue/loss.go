package catalogue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"inventorybeacon/uploads"
)

// A Loss is one file that left a queue in another way than by delivery.
type Loss struct {
	// Seq is the file's number here; of a loss elsewhere, the event's there.
	Seq uint64 `json:"seq"`
	// Beacon is who lost it and told us: a beacon's identity, or "agent:" and an
	// agent's id. It is empty for what was lost here.
	Beacon   string         `json:"beacon,omitempty"`
	Receipt  string         `json:"receipt,omitempty"`
	Kind     string         `json:"kind"`
	Name     string         `json:"name"`
	Device   string         `json:"device"`
	Domain   string         `json:"domain"`
	SHA256   uploads.Digest `json:"sha256"`
	Bytes    int64          `json:"bytes"`
	Received time.Time      `json:"received,omitzero"`
	At       time.Time      `json:"at"`
	// AgeSeconds is how long the file had been there; 0 if unknown.
	AgeSeconds int64  `json:"age_seconds"`
	Reason     string `json:"reason"`
	Detail     string `json:"detail,omitempty"`
	// Resent is the sequence number under which the same bytes arrived here again
	// later and so closed the entry; 0 if they did not.
	Resent uint64 `json:"resent,omitempty"`
}

// Age is how long the file had been there when it was lost; 0 if unknown.
func (l Loss) Age() time.Duration { return time.Duration(l.AgeSeconds) * time.Second }

// LossFilter selects losses; the zero value selects all.
type LossFilter struct {
	Device string // a name, or DOMAIN/name, in any case
	Kind   string // in any case
	Reason string // one of the spool's Loss constants
	Since  time.Time
	Open   bool   // only those whose bytes did not arrive again
	Beacon string // only those that this one told of
	Here   bool   // only those of this beacon
	Limit  int    // newest first; 0 means [DefaultLimit]
}

const lossColumns = `SELECT seq, receipt, kind, name, device, domain, sha256, bytes, received, at, reason, detail, resent`

// The two places of losses: this beacon's, and those that were reported.
const (
	ownLosses      = lossColumns + `, '' FROM losses`
	reportedLosses = lossColumns + `, beacon FROM reported`
)

// Losses lists losses, newest first: those of this beacon, and those that beacons
// below it and agents reported.
func (c *Catalogue) Losses(ctx context.Context, f LossFilter) ([]Loss, error) {
	found := []Loss{} // a list in JSON, even if empty
	for _, q := range f.queries() {
		some, err := read(ctx, c, q, scanLoss)
		if err != nil {
			return nil, fmt.Errorf("list losses: %w", err)
		}
		found = append(found, some...)
	}
	slices.SortStableFunc(found, newestLoss)
	return found[:min(len(found), limit(f.Limit))], nil
}

func newestLoss(a, b Loss) int {
	if c := b.At.Compare(a.At); c != 0 {
		return c
	}
	return cmp.Compare(b.Seq, a.Seq)
}

func (f LossFilter) queries() (out []*query) {
	if f.Beacon == "" {
		out = append(out, f.query(ownLosses))
	}
	if !f.Here {
		out = append(out, f.query(reportedLosses))
	}
	return out
}

func (f LossFilter) query(columns string) *query {
	q := &query{}
	q.add(columns)
	if f.Device != "" {
		q.whereDevice(f.Device)
	}
	if f.Kind != "" {
		q.where(`kind = ? COLLATE NOCASE`, f.Kind)
	}
	if f.Reason != "" {
		q.where(`reason = ?`, f.Reason)
	}
	if !f.Since.IsZero() {
		q.where(`at >= ?`, millis(f.Since))
	}
	if f.Open {
		q.where(`+resent = 0`) // by time, not by receipt
	}
	if f.Beacon != "" {
		q.where(`beacon = ?`, f.Beacon)
	}
	q.add(` ORDER BY at DESC, seq DESC LIMIT ?`, limit(f.Limit))
	return q
}

func scanLoss(r row) (l Loss, err error) {
	var digest []byte
	var received, at int64
	err = r.Scan(&l.Seq, &l.Receipt, &l.Kind, &l.Name, &l.Device, &l.Domain, &digest, &l.Bytes, &received, &at, &l.Reason, &l.Detail, &l.Resent, &l.Beacon)
	copy(l.SHA256[:], digest)
	l.Received, l.At = fromMillis(received), fromMillis(at)
	if received > 0 {
		l.AgeSeconds = max(0, at-received) / 1000
	}
	return l, err
}

// OpenLosses counts the losses of this beacon whose bytes did not arrive again.
func (c *Catalogue) OpenLosses(ctx context.Context) (n int64, err error) {
	var q query
	q.add(`SELECT count(*) FROM losses WHERE resent = 0`)
	found, err := read(ctx, c, &q, func(r row) (n int64, err error) { return n, r.Scan(&n) })
	if err != nil {
		return 0, fmt.Errorf("count open losses: %w", err)
	}
	return found[0], nil
}
