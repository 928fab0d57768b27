package catalogue

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/fleet"
)

// A Teller is who told something: Beacon by the way of Child, the beacon that
// relayed it here and is the same if it reports here itself. Peer is Child's address.
type Teller struct {
	Beacon, Child, Peer string
}

// A Word is the last that a beacon below said of itself.
type Word struct {
	Beacon string `json:"beacon"`
	// Child is the beacon that relayed it here.
	Child string `json:"child"`
	// At is when it was said, by that beacon's clock but never after Received.
	At       time.Time   `json:"at"`
	Received time.Time   `json:"received"`
	Every    int64       `json:"every_seconds"`
	State    fleet.State `json:"state"`
}

// silentWords is how many reports in a row a beacon may miss before that is news.
// Fewer cry wolf over every restart; more hide a beacon that died. wordAtLeast is
// the least for one that reports often.
const (
	silentWords = 3
	wordAtLeast = 15 * time.Minute
)

// Silent reports whether the beacon should have been heard of since.
func (w Word) Silent(now time.Time) bool {
	return now.Sub(w.At) > max(wordAtLeast, silentWords*time.Duration(w.Every)*time.Second)
}

// Told is what another beacon heard of a device.
type Told struct {
	Beacon string `json:"beacon"`
	Child  string `json:"child"`
	// Heard is when that beacon last said anything: what is told here is as of then.
	Heard time.Time `json:"heard"`
	Contact
	Uploads map[string]time.Time `json:"uploads,omitempty"` // the newest of each kind
}

const (
	// maxWords bounds the beacons that one child may speak for.
	maxWords = 1000
	// maxToldAll bounds what is told of devices by all children, at about half a KiB
	// each; one child has Options.DevicesPerChild.
	maxToldAll = 250_000
)

// TellBeacon takes a beacon's word on itself, unless a later one is known, and
// forgets words of beacons and devices that are older than the horizon.
func (c *Catalogue) TellBeacon(ctx context.Context, s Teller, b fleet.Beacon, received time.Time) error {
	state, err := json.Marshal(b.State)
	if err != nil {
		return fmt.Errorf("note fleet status: %w", err)
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	err = c.write(ctx, func(t *batch) error {
		at, err := t.pruneTime(received)
		if err != nil {
			return err
		}
		before := millis(at.Add(-c.o.Horizon))
		for _, statement := range []string{`DELETE FROM told WHERE seen < ?`, `DELETE FROM words WHERE at < ?`} {
			if _, err := t.exec(statement, before); err != nil {
				return err
			}
		}
		_, err = t.exec(`INSERT INTO words SELECT ?1,?2,?3,?4,?5,?6
			WHERE (SELECT count(*) FROM words WHERE child = ?2) < ?7 OR EXISTS (SELECT 1 FROM words WHERE beacon = ?1 AND child = ?2)
			ON CONFLICT DO UPDATE SET at = excluded.at, received = excluded.received, every = excluded.every, state = excluded.state
			WHERE excluded.at >= at`, s.Beacon, s.Child, millis(b.At), millis(received), b.EverySeconds, string(state), maxWords)
		return err
	})
	if err != nil {
		return fmt.Errorf("note fleet status: %w", err)
	}
	return nil
}

// TellDevices takes a beacon's word, said at that time, on devices. It returns how
// many were dropped because its child told of too many.
func (c *Catalogue) TellDevices(ctx context.Context, s Teller, at time.Time, devices []fleet.Device) (dropped int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	before := c.devices
	err = c.write(ctx, func(b *batch) error {
		var all, child int
		if _, err := b.get(`SELECT (SELECT count(*) FROM told), (SELECT count(*) FROM told WHERE child = ?)`, []any{s.Child}, &all, &child); err != nil {
			return err
		}
		room := min(maxToldAll-all, c.o.DevicesPerChild-child)
		introducers := map[string]int{}
		for _, d := range devices {
			added, err := b.tell(s, at, d, room > 0)
			switch {
			case err != nil:
				return err
			case added < 0:
				dropped++
				continue
			}
			room -= added
			if err := c.toldDevice(b, s, d, introducers); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		c.devices = before
		return 0, fmt.Errorf("note fleet status: %w", err)
	}
	return dropped, nil
}

// tell returns 1 if what it noted is new, and -1 if there is no room for it.
func (b *batch) tell(s Teller, at time.Time, d fleet.Device, room bool) (int, error) {
	domain, name := keys(uploads.Device{Domain: d.Domain, Name: d.Name})
	facts, err := json.Marshal(d)
	if err != nil {
		return 0, err
	}
	t := Told{Contact: contactOf(d), Uploads: d.Uploads}
	key := []any{name, domain, d.AgentID, s.Beacon, s.Child}
	news := []any{d.Address, millis(at), millis(d.Seen), string(facts),
		millis(d.Uploads[inventories]), millis(newestUpload(t)), millis(t.Refusal.At), t.Refusal.Code, int64(t.Skew / time.Second)}
	var id int64
	known, err := b.get(`SELECT id FROM told WHERE name_key = ? AND domain_key = ? AND agent_id = ? AND beacon = ? AND child = ?`, key, &id)
	switch {
	case err != nil:
		return 0, err
	case known:
		_, err = b.exec(`UPDATE told SET address = ?1, at = ?2, seen = ?3, facts = ?4, inventory = ?5, uploaded = ?6, refused = ?7,
			refused_code = ?8, skew = ?9 WHERE id = ?10 AND at <= ?2`, append(news, id)...)
		return 0, err
	case !room:
		return -1, nil
	}
	_, err = b.exec(`INSERT INTO told (name_key, domain_key, agent_id, beacon, child, address, at, seen, facts, inventory, uploaded, refused,
		refused_code, skew) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)`, append(key, news...)...)
	return 1, err
}

// toldDevice makes known, within the bounds for those of a child, a device that had
// an upload accepted further down, and when a known one was last heard of.
func (c *Catalogue) toldDevice(b *batch, s Teller, d fleet.Device, introducers map[string]int) error {
	domain, name := keys(uploads.Device{Domain: d.Domain, Name: d.Name})
	if len(d.Uploads) > 0 {
		first := uploads.Upload{Device: uploads.Device{Domain: d.Domain, Name: d.Name}, Via: []string{s.Child}, Peer: s.Peer, Received: d.Seen}
		if _, err := c.device(b, uploads.Device{Domain: domain, Name: name}, first, introducers); err != nil {
			return err
		}
	}
	_, err := b.exec(`UPDATE devices SET last_seen = ?1 WHERE name_key = ?2 AND domain_key IN (?3, '') AND last_seen < ?1`, millis(d.Seen), name, domain)
	return err
}

// Words returns the last word of each beacon below, the latest first.
func (c *Catalogue) Words(ctx context.Context) ([]Word, error) {
	var q query
	q.add(`SELECT beacon, child, at, received, every, state FROM words ORDER BY at DESC, beacon, child LIMIT ?`, MaxLimit)
	words, err := read(ctx, c, &q, scanWord)
	if err != nil {
		return nil, fmt.Errorf("list words of beacons: %w", err)
	}
	return words, nil
}

func scanWord(r row) (w Word, err error) {
	var at, received int64
	var state []byte
	if err = r.Scan(&w.Beacon, &w.Child, &at, &received, &w.Every, &state); err != nil {
		return w, err
	}
	w.At, w.Received = fromMillis(at), fromMillis(received)
	return w, json.Unmarshal(state, &w.State)
}

const toldColumns = `SELECT told.beacon, told.child, coalesce(words.at, told.at), told.facts FROM told LEFT JOIN words USING (beacon, child)`

// toldOrder puts first who heard it last.
const toldOrder = ` ORDER BY told.seen DESC, told.id LIMIT ?`

func scanTold(r row) (t Told, err error) {
	var heard int64
	var facts []byte
	if err = r.Scan(&t.Beacon, &t.Child, &heard, &facts); err != nil {
		return t, err
	}
	var d fleet.Device
	err = json.Unmarshal(facts, &d)
	t.Heard, t.Contact, t.Uploads = fromMillis(heard), contactOf(d), d.Uploads
	return t, err
}

// toldOf returns what others heard of a device.
func (c *Catalogue) toldOf(ctx context.Context, d uploads.Device) ([]Told, error) {
	domain, name := keys(d)
	var q query
	q.add(toldColumns)
	q.where(`told.name_key = ? AND (told.domain_key = ? OR ? = '')`, name, domain, domain)
	q.add(toldOrder, identitiesPerDevice)
	return read(ctx, c, &q, scanTold)
}

// toldCalled returns what others heard of who goes by a name, an address or an
// agent id, as for [Catalogue.Device].
func (c *Catalogue) toldCalled(ctx context.Context, name string) ([]Told, error) {
	if name == "" {
		return []Told{}, nil
	}
	var q query
	whole, domain, base := names(name)
	q.add(toldColumns)
	q.where(`told.name_key = ? OR (told.name_key = ? AND told.domain_key = ? AND told.name_key <> '')
		OR (told.address = ? AND told.address <> '') OR (told.agent_id = ? AND told.agent_id <> '')`, whole, base, domain, address(name), name)
	q.add(toldOrder, traceRows)
	return read(ctx, c, &q, scanTold)
}

// heardBy says who heard d last, and as of when that is known: this beacon, whose
// name it is, knows it now.
func (d *Device) heardBy(self string) {
	d.Beacon = self
	t := slices.MaxFunc(append([]Told{{}}, d.Told...), func(a, b Told) int { return cmp.Compare(a.LastSeen.UnixMilli(), b.LastSeen.UnixMilli()) })
	if t.LastSeen.After(d.Latest().LastSeen) {
		d.Beacon, d.Heard = t.Beacon, t.Heard
	}
}
