package catalogue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"inventorybeacon/uploads"
)

// A Trace is everything the catalogue knows about what somebody calls a device.
type Trace struct {
	Query string `json:"query"`
	// Devices are the machines that fit; more than one if the name exists in
	// several domains, or if several sit behind one address.
	Devices []Device `json:"devices"`
	// Strangers called under the name or the agent id, or from the address, but
	// no upload of theirs was ever accepted.
	Strangers []Contact `json:"strangers"`
	// Told is what beacons below heard of it, the latest first, and Beacons is their
	// last word on themselves.
	Told    []Told `json:"told,omitempty"`
	Beacons []Word `json:"beacons,omitempty"`
	// Uploads are the newest of these devices, of any state, and Waiting the
	// oldest of theirs in the queue, out of WaitingCount.
	Uploads      []Upload `json:"uploads"`
	Waiting      []Upload `json:"waiting"`
	WaitingCount int64    `json:"waiting_count"`
	// Losses are their newest losses whose bytes did not arrive again.
	Losses []Loss `json:"losses"`
	// Sinks are the relay's destinations.
	Sinks []Sink `json:"sinks"`
	// Since is when this index began to hear contacts: before that, silence
	// means nothing.
	Since time.Time `json:"since"`
}

// traceRows bounds each list of a trace. More shows more of the past; the newest
// and the oldest are enough for a verdict.
const traceRows = 20

// Trace gathers everything known about a device, named as for
// [Catalogue.Device]. Knowing nothing is no error.
func (c *Catalogue) Trace(ctx context.Context, name string) (Trace, error) {
	t := Trace{
		Query: strings.TrimSpace(name), Sinks: append([]Sink{}, c.o.Sinks...),
		Devices: []Device{}, Strangers: []Contact{}, Uploads: []Upload{}, Waiting: []Upload{}, Losses: []Loss{}, // lists in JSON, even if empty
	}
	if err := c.trace(ctx, &t); err != nil {
		return Trace{}, fmt.Errorf("trace %q: %w", name, err)
	}
	return t, nil
}

func (c *Catalogue) trace(ctx context.Context, t *Trace) (err error) {
	if t.Since, err = c.since(ctx); err != nil {
		return err
	}
	if t.Devices, err = c.Device(ctx, t.Query); err != nil {
		return err
	}
	if t.Strangers, err = c.strangers(ctx, t.Query); err != nil {
		return err
	}
	if err = c.traceFleet(ctx, t); err != nil {
		return err
	}
	for _, d := range t.Devices[:min(len(t.Devices), traceRows)] {
		if err := c.traceUploads(ctx, t, d); err != nil {
			return err
		}
	}
	t.shorten()
	return nil
}

// shorten brings what several devices gave into one order and to its bound.
func (t *Trace) shorten() {
	slices.SortStableFunc(t.Uploads, func(a, b Upload) int { return b.Received.Compare(a.Received) })
	slices.SortStableFunc(t.Waiting, func(a, b Upload) int { return a.Received.Compare(b.Received) })
	slices.SortStableFunc(t.Losses, func(a, b Loss) int { return b.At.Compare(a.At) })
	t.Uploads = t.Uploads[:min(len(t.Uploads), traceRows)]
	t.Waiting = t.Waiting[:min(len(t.Waiting), traceRows)]
	t.Losses = t.Losses[:min(len(t.Losses), traceRows)]
}

func (c *Catalogue) since(ctx context.Context) (time.Time, error) {
	var q query
	q.add(`SELECT value FROM meta WHERE key = 'since'`)
	found, err := read(ctx, c, &q, func(r row) (ms int64, err error) { return ms, r.Scan(&ms) })
	if err != nil || len(found) == 0 {
		return time.Time{}, err
	}
	return fromMillis(found[0]), nil
}

// strangers finds who called under a name, from an address or with an agent id
// and is not a device.
func (c *Catalogue) strangers(ctx context.Context, name string) ([]Contact, error) {
	if name == "" {
		return []Contact{}, nil
	}
	return read(ctx, c, strangersCalled(name), scanContact)
}

func strangersCalled(name string) *query {
	q := &query{}
	q.add(contactColumns)
	q.where(`device IS NULL`)
	whole, domain, base := names(name)
	q.where(`name_key IN (?, ?) OR (name_key = ? AND domain_key = ? AND name_key <> '') OR address = ? OR (agent_id = ? AND agent_id <> '')`,
		whole, asTyped(name), base, domain, address(name), name)
	q.add(latestFirst)
	q.add(` LIMIT ?`, traceRows)
	return q
}

// Where a device's own uploads are meant, its domain has to be the same.
func (c *Catalogue) traceUploads(ctx context.Context, t *Trace, d Device) error {
	domain, name := keys(uploads.Device{Domain: d.Domain, Name: d.Name})
	var newest, oldest, count query
	newest.add(uploadColumns)
	newest.where(uploadByBoth, name, domain)
	newest.add(` ORDER BY received DESC, seq DESC LIMIT ?`, traceRows)
	found, err := c.uploads(ctx, &newest)
	if err != nil {
		return err
	}
	t.Uploads = append(t.Uploads, found...)
	oldest.add(uploadColumns)
	oldest.where(uploadByBoth, name, domain)
	oldest.where(`state = 'waiting'`)
	oldest.add(` ORDER BY received, seq LIMIT ?`, traceRows)
	if found, err = c.uploads(ctx, &oldest); err != nil {
		return err
	}
	t.Waiting = append(t.Waiting, found...)
	count.add(`SELECT count(*) FROM uploads`)
	count.where(uploadByBoth, name, domain)
	count.where(`state = 'waiting'`)
	waiting, err := read(ctx, c, &count, func(r row) (n int64, err error) { return n, r.Scan(&n) })
	if err != nil {
		return err
	}
	t.WaitingCount += waiting[0]
	lost, err := c.lossesOf(ctx, domain, name)
	t.Losses = append(t.Losses, lost...)
	return err
}

func (c *Catalogue) lossesOf(ctx context.Context, domain, name string) ([]Loss, error) {
	var out []Loss
	for _, columns := range []string{ownLosses, reportedLosses} {
		var q query
		q.add(columns)
		q.where(uploadByBoth, name, domain)
		q.where(`+resent = 0`)
		q.add(` ORDER BY at DESC, seq DESC LIMIT ?`, traceRows)
		found, err := read(ctx, c, &q, scanLoss)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	slices.SortStableFunc(out, newestLoss)
	return out[:min(len(out), traceRows)], nil
}
