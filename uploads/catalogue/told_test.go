package catalogue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/contact"
	"inventorybeacon/uploads/fleet"
)

// tells passes a report to the catalogue as a beacon reads it.
func tells(t *testing.T, c *Catalogue, by Teller, at time.Time, devices ...fleet.Device) (dropped int) {
	t.Helper()
	b := fleet.Beacon{Beacon: by.Beacon, At: at, EverySeconds: 300}
	if err := c.TellBeacon(t.Context(), by, b, at); err != nil {
		t.Fatal(err)
	}
	dropped, err := c.TellDevices(t.Context(), by, at, devices)
	if err != nil {
		t.Fatal(err)
	}
	return dropped
}

func TestChildCannotReplaceAnothersWord(t *testing.T) {
	c := fresh(t, Options{Beacon: "centre"})
	now := time.Now().UTC().Truncate(time.Millisecond)
	leaf := Teller{Beacon: "leaf", Child: "hub", Peer: "192.0.2.1"}
	ws1 := fleet.Device{Name: "ws1", Domain: "EXAMPLE", Seen: now, Uploads: map[string]time.Time{"Inventories": now}}
	tells(t, c, leaf, now, ws1)
	evil := ws1
	evil.Error, evil.Seen = "all is lost", now.Add(-time.Hour)
	tells(t, c, Teller{Beacon: "leaf", Child: "evil", Peer: "192.0.2.66"}, now, evil)
	older := ws1
	older.Version, older.Seen = "0.1", now.Add(-2*time.Hour)
	tells(t, c, leaf, now.Add(-time.Minute), older) // arrives late

	found, err := c.Device(t.Context(), "ws1")
	if err != nil || len(found) != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	d := found[0]
	if len(d.Told) != 2 || d.Beacon != "leaf" || !d.Heard.Equal(now) || !d.LastSeen.Equal(now) {
		t.Fatalf("%+v", d)
	}
	if first := d.Told[0]; first.Child != "hub" || first.Version != "" || first.Error != "" || d.Told[1].Child != "evil" {
		t.Errorf("the words are %+v", d.Told)
	}
	if words, err := c.Words(t.Context()); err != nil || len(words) != 2 {
		t.Errorf("%+v, %v", words, err)
	}
}

func TestChildMayTellOfSoManyDevices(t *testing.T) {
	c := fresh(t, Options{DevicesPerChild: 5})
	now := time.Now().UTC()
	var many []fleet.Device
	for i := range 8 {
		many = append(many, fleet.Device{Name: fmt.Sprintf("ws%d", i), Seen: now, Uploads: map[string]time.Time{"Logs": now}})
	}
	if n := tells(t, c, Teller{Beacon: "leaf", Child: "leaf"}, now, many...); n != 3 {
		t.Errorf("%d dropped", n)
	}
	if n := tells(t, c, Teller{Beacon: "leaf", Child: "leaf"}, now, many[:5]...); n != 0 {
		t.Errorf("of those that are known %d dropped", n)
	}
	if n := tells(t, c, Teller{Beacon: "other", Child: "other"}, now, many[:1]...); n != 0 {
		t.Errorf("of another child %d dropped", n)
	}
}

// A device that a beacon only heard of, and took nothing from, is none here.
func TestToldStrangerIsNoDevice(t *testing.T) {
	c := fresh(t, Options{})
	now := time.Now().UTC()
	tells(t, c, Teller{Beacon: "leaf", Child: "leaf"}, now, fleet.Device{Name: "ws1", Seen: now})
	if found, err := c.Devices(t.Context(), DeviceFilter{}); err != nil || len(found) != 0 {
		t.Errorf("%+v, %v", found, err)
	}
	tr, err := c.Trace(t.Context(), "ws1")
	if err != nil {
		t.Fatal(err)
	}
	if v := tr.Verdict(now); v.Code != Elsewhere || !strings.Contains(v.Text, "leaf") {
		t.Errorf("%+v", v)
	}
	if v := tr.Verdict(now.Add(3 * time.Hour)); v.Code != DarkBeacon || !strings.Contains(v.Text, "What it knew then") {
		t.Errorf("three hours later: %+v", v)
	}
}

// A device that sent files to another beacon, which told of them, is listed here; that
// nothing came here is not its silence.
func TestTraceOfToldDeviceNamesItsBeacon(t *testing.T) {
	c := fresh(t, Options{})
	now := time.Now().UTC()
	leaf := Teller{Beacon: "leaf", Child: "leaf"}
	for name, kind := range map[string]string{"ws1": inventories, "ws2": "Logs"} {
		tells(t, c, leaf, now, fleet.Device{Name: name, Domain: "EXAMPLE", Seen: now, Uploads: map[string]time.Time{kind: now}})
		tr, err := c.Trace(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		v := tr.Verdict(now)
		if v.Code != Elsewhere || !strings.Contains(v.Text, "leaf") || !strings.Contains(v.Text, kind) || !strings.Contains(v.Do, "on leaf") {
			t.Errorf("%s: %+v", name, v)
		}
		if said := slices.Contains(v.Notes, "it never sent an inventory"); said != (kind == "Logs") {
			t.Errorf("%s: %q", name, v.Notes)
		}
		if v := tr.Verdict(now.Add(3 * time.Hour)); v.Code != DarkBeacon {
			t.Errorf("%s three hours later: %+v", name, v)
		}
	}
}

// What a beacon tells upstream is what it heard, once for each change.
func TestHeardIsWhatChanged(t *testing.T) {
	c := fresh(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	at := time.Now().UTC().Truncate(time.Millisecond)
	see := func(name, version string, at time.Time) {
		t.Helper()
		c.Seen(Sighting{At: at, Peer: "192.0.2.7", Status: 200, Contact: contact.Contact{Name: name, Domain: "EXAMPLE", Version: version, Spool: -1}})
		if err := c.flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	heard := func(s fleet.Span) (names []string) {
		t.Helper()
		if err := c.Heard(ctx, s, func(d fleet.Device) error { names = append(names, d.Name+" "+d.Version); return nil }); err != nil {
			t.Fatal(err)
		}
		return names
	}
	change := func() int64 {
		t.Helper()
		_, n, err := c.Changes(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	see("ws1", "1", at)
	see("ws2", "1", at)
	if got := heard(fleet.Span{}); len(got) != 2 {
		t.Errorf("at first: %v", got)
	}
	n := change()
	see("ws1", "1", at.Add(time.Minute))
	if got := heard(fleet.Span{Change: n}); len(got) != 0 || change() != n {
		t.Errorf("of a contact with nothing new: %v", got)
	}
	if got := heard(fleet.Span{Change: n, Contacts: at.Add(time.Second)}); len(got) != 1 || got[0] != "ws1 1" {
		t.Errorf("of contacts since: %v", got)
	}
	see("ws2", "2", at.Add(2*time.Minute))
	if got := heard(fleet.Span{Change: n}); len(got) != 1 || got[0] != "ws2 2" {
		t.Errorf("of a new version: %v", got)
	}
	if got := heard(fleet.Span{Full: true}); len(got) != 2 {
		t.Errorf("of everything: %v", got)
	}
}

func TestLateDevicesHaveTheirCause(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const while = 50 * time.Hour
	for want, s := range map[Cause]standing{
		"":             {seen: ago(time.Minute), upload: ago(time.Hour), inventory: ago(49 * time.Hour), refused: Answer{At: now}},
		CauseNever:     {},
		CauseNoUpload:  {seen: ago(time.Hour)},
		CauseInventory: {seen: ago(time.Hour), upload: ago(time.Hour), inventory: ago(51 * time.Hour)},
		CauseRefused:   {seen: ago(time.Hour), upload: ago(51 * time.Hour), refused: Answer{At: ago(time.Hour), Code: "too-large"}},
		CauseClock:     {seen: ago(time.Hour), skew: -25 * time.Hour},
		CauseBeacon:    {seen: ago(60 * time.Hour), upload: ago(60 * time.Hour), silent: true},
		CauseStopped:   {seen: ago(60 * time.Hour), upload: ago(60 * time.Hour)},
	} {
		got, code := s.cause(now, while)
		if got != want || (want == CauseRefused) != (code == "too-large") {
			t.Errorf("%q: %q %q", want, got, code)
		}
	}
}

// A name that is expected without a domain is met by that of any domain, one with a
// domain not by another's.
func TestLateComparesDomains(t *testing.T) {
	c := fresh(t, Options{})
	now := time.Now().UTC()
	tells(t, c, Teller{Beacon: "leaf", Child: "leaf"}, now,
		fleet.Device{Name: "ws1", Domain: "EXAMPLE", Seen: now, Uploads: map[string]time.Time{"Inventories": now}})
	expected := []uploads.Device{{Name: "WS1"}, {Domain: "example", Name: "ws1"}, {Domain: "OTHER", Name: "ws1"}}
	late, err := c.Late(t.Context(), expected, DefaultLate, now)
	if err != nil || len(late) != 1 || late[0].Domain != "OTHER" || late[0].Cause != CauseNever {
		t.Errorf("%+v, %v", late, err)
	}
	if late, err = c.Late(t.Context(), nil, DefaultLate, now.Add(60*time.Hour)); err != nil || len(late) != 1 || late[0].Cause != CauseBeacon || late[0].Beacon != "leaf" {
		t.Errorf("of those that are known: %+v, %v", late, err)
	}
}

// What was told before the index had columns for it counts as much, and so does what
// the beacon itself heard beside it.
func TestLateKnowsWhatWasToldBefore(t *testing.T) {
	c := fresh(t, Options{Beacon: "centre"})
	now := time.Now().UTC().Truncate(time.Millisecond)
	skew := int64(-2 * 24 * 3600)
	old := map[string]time.Time{"Inventories": now.Add(-72 * time.Hour), "Logs": now.Add(-2 * time.Hour)}
	tells(t, c, Teller{Beacon: "leaf", Child: "leaf"}, now,
		fleet.Device{Name: "fine", Seen: now, Uploads: map[string]time.Time{"Inventories": now}},
		fleet.Device{Name: "late", Seen: now, Uploads: old},
		fleet.Device{Name: "refused", Seen: now, Uploads: old, Refusal: &fleet.Answer{At: now.Add(-time.Hour), Status: 413, Code: "too-large"}},
		fleet.Device{Name: "clock", Seen: now, Uploads: old, Skew: &skew})
	causes := func() map[string]string {
		found, err := c.Late(t.Context(), nil, DefaultLate, now)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, l := range found {
			out[l.Name] = string(l.Cause) + l.Code
			if l.Beacon != "leaf" || !l.Heard.Equal(now) || !l.Seen.Equal(now) || !l.Inventory.Equal(now.Add(-72*time.Hour)) {
				t.Errorf("%+v", l)
			}
		}
		return out
	}
	const want = "map[clock:clock-fault late:inventory-late refused:refusedtoo-large]"
	if got := fmt.Sprint(causes()); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if err := c.write(t.Context(), func(b *batch) error {
		_, err := b.exec(`UPDATE told SET inventory = NULL, uploaded = NULL, refused = NULL, refused_code = NULL, skew = NULL`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(causes()); got != want {
		t.Errorf("told before: %s, want %s", got, want)
	}
}

// Of the beacon's own devices, what was uploaded beside an old inventory counts, too.
func TestLateKnowsOwnUploads(t *testing.T) {
	c := fresh(t, Options{Beacon: "centre"})
	now := time.Now().UTC().Truncate(time.Millisecond)
	ago := func(h int) int64 { return millis(now.Add(-time.Duration(h) * time.Hour)) }
	if err := c.write(t.Context(), func(b *batch) error {
		for i, d := range []struct {
			name                     string
			inventory, logs, refusal int64
		}{
			{"fine", ago(50), ago(60), ago(1)}, {"old", ago(51), ago(1), ago(2)}, {"refused", ago(51), ago(3), ago(2)}, {"logs", 0, ago(1), 0}, {"none", 0, 0, 0},
		} {
			id := i + 1
			if _, err := b.exec(`INSERT INTO devices VALUES (?1,'',?2,'',?2,0,0,1,1,'')`, id, d.name); err != nil {
				return err
			}
			if _, err := b.exec(`INSERT INTO contacts VALUES (?1,?1,'',?2,'',?2,'','','',?3,?3,1,'','',0,'',0,0,'',0,0,'','',?4,413,'too-large','')`, id, d.name, ago(0), d.refusal); err != nil {
				return err
			}
			for kind, at := range map[string]int64{"Inventories": d.inventory, "Logs": d.logs} {
				if at == 0 {
					continue
				}
				if _, err := b.exec(`INSERT INTO activity VALUES (?,?,1,1,?,1)`, id, kind, at); err != nil {
					return err
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for what, expected := range map[string][]uploads.Device{
		"known": nil, "expected": {{Name: "fine"}, {Name: "old"}, {Name: "refused"}, {Name: "logs"}, {Name: "none"}},
	} {
		causes := map[string]Cause{}
		late, err := c.Late(t.Context(), expected, DefaultLate, now)
		for _, l := range late {
			causes[l.Name] = l.Cause
		}
		if got := fmt.Sprint(causes); err != nil || got != "map[logs:inventory-late none:no-upload old:inventory-late refused:refused]" {
			t.Errorf("%s: %s, %v", what, got, err)
		}
	}
}
