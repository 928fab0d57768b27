package catalogue

import (
	"cmp"
	"maps"
	"slices"

	"inventorybeacon/uploads"
)

// introductions gather what a batch of uploads says of each device.
type introductions map[uploads.Device]*introduction

type introduction struct {
	first, last uploads.Upload
	uploads     int
	kinds       map[string]*kindSum
}

type kindSum struct {
	uploads, bytes int64
	last           uploads.Upload
}

func (in introductions) add(u uploads.Upload) {
	if u.Device.IsZero() {
		return
	}
	d := u.Device
	d.Domain, d.Name = keys(d)
	i := in[d]
	if i == nil {
		i = &introduction{first: u, last: u, kinds: map[string]*kindSum{}}
		in[d] = i
	}
	i.uploads++
	if u.Received.After(i.last.Received) {
		i.last = u
	}
	k := i.kinds[u.Kind]
	if k == nil {
		k = &kindSum{}
		i.kinds[u.Kind] = k
	}
	k.uploads++
	k.bytes += u.Size
	k.last = u
}

// order returns the devices in the order of their first upload, so that caps
// meet the same ones whenever the journal is read.
func (in introductions) order() []uploads.Device {
	return slices.SortedFunc(maps.Keys(in), func(a, b uploads.Device) int {
		return cmp.Compare(in[a].first.Seq, in[b].first.Seq)
	})
}

// introduce writes what uploads say of devices and makes those that are new
// known.
func (c *Catalogue) introduce(b *batch, in introductions) error {
	introducers := map[string]int{}
	for _, d := range in.order() {
		id, err := c.device(b, d, in[d].first, introducers)
		switch {
		case err != nil:
			return err
		case id == 0:
			c.counters.devicesRefused.Add(uint64(in[d].uploads))
			if err := b.count("other_uploads", in[d].uploads); err != nil {
				return err
			}
		default:
			if err := b.activity(id, in[d]); err != nil {
				return err
			}
		}
	}
	return nil
}

// device returns the row of a device, made if the caps allow; else 0.
// introducers are the devices of each introducer, where asked so far.
func (c *Catalogue) device(b *batch, key uploads.Device, first uploads.Upload, introducers map[string]int) (id int64, err error) {
	known, err := b.get(`SELECT id FROM devices WHERE name_key = ? AND domain_key = ?`, []any{key.Name, key.Domain}, &id)
	if err != nil || known {
		return id, err
	}
	introducer, most := peerGroup(first.Peer), c.o.DevicesPerPeer
	if len(first.Via) > 0 {
		introducer, most = "child "+introducer, c.o.DevicesPerChild
	}
	n, asked := introducers[introducer]
	if !asked {
		if _, err := b.get(`SELECT count(*) FROM devices WHERE introducer = ?`, []any{introducer}, &n); err != nil {
			return 0, err
		}
	}
	introducers[introducer] = n
	if n >= most || c.devices >= c.o.MaxDevices {
		return 0, nil
	}
	at := millis(first.Received)
	if _, err := b.get(`INSERT INTO devices (domain, name, domain_key, name_key, first_seen, last_seen, introducer)
		VALUES (?,?,?,?,?,?,?) RETURNING id`,
		[]any{first.Device.Domain, first.Device.Name, key.Domain, key.Name, at, at, introducer}, &id); err != nil {
		return 0, err
	}
	c.devices++
	introducers[introducer]++
	return id, b.promote(id, key)
}

// promote makes a new device's own what a stranger of its name did before. A
// device whose domain no upload told takes those of every domain that has no
// device.
func (b *batch) promote(id int64, key uploads.Device) error {
	n, err := b.exec(`UPDATE contacts SET device = ?1 WHERE name_key = ?2 AND (domain_key = ?3 OR (?3 = '' AND device IS NULL))`,
		id, key.Name, key.Domain)
	if err != nil || n == 0 {
		return err
	}
	_, err = b.exec(`UPDATE devices SET first_seen = min(first_seen, c.first), last_seen = max(last_seen, c.last)
		FROM (SELECT min(first_seen) AS first, max(last_seen) AS last FROM contacts WHERE device = ?1) AS c WHERE id = ?1`, id)
	return err
}

func (b *batch) activity(id int64, i *introduction) error {
	var bytes int64
	for kind, k := range i.kinds {
		if _, err := b.exec(`INSERT INTO activity VALUES (?,?,?,?,?,?) ON CONFLICT (device, kind) DO UPDATE SET
			uploads = uploads + excluded.uploads, bytes = bytes + excluded.bytes,
			last = excluded.last, last_seq = excluded.last_seq`,
			id, kind, k.uploads, k.bytes, millis(k.last.Received), int64(k.last.Seq)); err != nil {
			return err
		}
		bytes += k.bytes
	}
	_, err := b.exec(`UPDATE devices SET uploads = uploads + ?, bytes = bytes + ?, last_seen = max(last_seen, ?) WHERE id = ?`,
		i.uploads, bytes, millis(i.last.Received), id)
	return err
}
