package catalogue

import (
	"strings"
	"testing"
	"time"

	"inventorybeacon/uploads/spool"
)

func TestVerdictSaysWhyAndWhatToDo(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	before := func(d time.Duration) time.Time { return now.Add(-d) }
	up := func(state State, age time.Duration, change ...func(*Upload)) Upload {
		u := Upload{Seq: 7, Receipt: "abcd", Kind: "Inventories", Name: "pc1.ndi", Device: "pc1", Domain: "EXAMPLE", State: state, Received: before(age)}
		for _, f := range change {
			f(&u)
		}
		return u
	}
	at := func(age time.Duration, change ...func(*Contact)) Contact {
		k := Contact{Domain: "EXAMPLE", Name: "pc1", AgentID: "a1", LastSeen: before(age), Address: "192.0.2.7"}
		for _, f := range change {
			f(&k)
		}
		return k
	}
	dev := func(age time.Duration, contacts ...Contact) []Device {
		return []Device{{Domain: "EXAMPLE", Name: "pc1", LastSeen: before(age), Contacts: contacts, Kinds: []Activity{{Kind: "Inventories"}}}}
	}
	refused := func(k *Contact) {
		k.Refusal = Answer{At: before(10 * time.Minute), Status: 415, Code: "bad-kind", What: "pc1.exe"}
	}
	two := []Sink{{Name: "disk", Required: true}, {Name: "store", Required: true}}
	onDisk := func(u *Upload) { u.Deliveries = []Delivery{{Sink: "disk", At: before(time.Minute)}} }

	for name, tt := range map[string]struct {
		trace Trace
		code  VerdictCode
		text  string // in the text
		do    string // in what to do
		note  string // in the notes; empty for none at all
	}{
		"nothing known": {Trace{Query: "pc1", Since: before(30 * 24 * time.Hour)}, NeverHeard,
			"pc1: never heard of: no request and no upload named it since this index began 30d0h ago.", "beacon-agent status", ""},
		"polls": {Trace{Strangers: []Contact{at(time.Minute)}}, OnlyPolls,
			"EXAMPLE/pc1 calls (last 1m ago from 192.0.2.7) but never uploaded anything here.", "beacon-agent upload", ""},
		"polls and finds no policy": {Trace{Strangers: []Contact{at(time.Minute, func(k *Contact) {
			k.Policy = Answer{At: before(time.Minute), Status: 404, Code: "not-found"}
		})}}, OnlyPolls, "never uploaded", "", "no bundle applies to it"},
		"address that polls": {Trace{Query: "192.0.2.7", Strangers: []Contact{{Address: "192.0.2.7", LastSeen: before(time.Second)}}}, OnlyPolls,
			"192.0.2.7 calls", "", ""},
		"first upload refused": {Trace{Strangers: []Contact{at(time.Minute, refused)}}, Refused,
			"nothing of it was ever accepted: 415 bad-kind for pc1.exe, 10m ago.", "add the kind", ""},
		"last upload refused": {Trace{Devices: dev(0, at(0, refused)), Uploads: []Upload{up(StateDelivered, time.Hour)}}, Refused,
			"EXAMPLE/pc1: its last upload was turned away: 415 bad-kind", "add the kind", ""},
		"refused before, accepted since": {Trace{Devices: dev(0, at(0, refused)), Uploads: []Upload{up(StateDelivered, time.Minute)}}, Reported,
			"was delivered", "", ""},
		"waiting for one sink": {Trace{Devices: dev(0, at(0)), Sinks: two, Uploads: []Upload{up(StateWaiting, 3*time.Hour, onDisk)}, WaitingCount: 1}, InQueue,
			"pc1.ndi (Inventories), arrived 3h00m ago and has waited for store for 3h00m.", "beacon status", ""},
		"waiting for both": {Trace{Devices: dev(0, at(0)), Sinks: two, Uploads: []Upload{up(StateWaiting, time.Hour)}, WaitingCount: 3,
			Waiting: []Upload{up(StateWaiting, 50*time.Hour)}}, InQueue,
			"has waited for disk and store for 1h00m.", "", "3 of its files wait in the queue, the oldest for 2d2h"},
		"delivered": {Trace{Devices: dev(time.Minute, at(time.Minute)), Sinks: two, Uploads: []Upload{up(StateDelivered, time.Hour, onDisk)}}, Reported,
			"EXAMPLE/pc1: its newest file, pc1.ndi (Inventories), arrived 1h00m ago and was delivered to disk 1m ago.", "", ""},
		"delivered, an older one waits": {Trace{Devices: dev(time.Minute, at(time.Minute)), Uploads: []Upload{up(StateDelivered, time.Hour)}, WaitingCount: 1,
			Waiting: []Upload{up(StateWaiting, 2*time.Hour)}}, Reported, "was delivered.", "", "1 of its files wait"},
		"silent": {Trace{Devices: dev(72*time.Hour, at(72*time.Hour)), Uploads: []Upload{up(StateDelivered, 72*time.Hour)}}, Silent,
			"silent since 2026-11-19 12:00:00Z (3d0h ago)", "Is the machine on", ""},
		"quarantined": {Trace{Devices: dev(0, at(0)), Uploads: []Upload{up(StateQuarantined, time.Hour, func(u *Upload) { u.Reason, u.Detail = spool.LossRefused, "parent said 422" })}}, Rejected,
			"is in quarantine: parent said 422.", "beacon uploads cat abcd", ""},
		"lost": {Trace{Devices: dev(0, at(0)), Uploads: []Upload{up(StateLost, time.Hour, func(u *Upload) { u.Reason, u.Ended = spool.LossQuota, before(time.Minute) })}}, WasLost,
			"was lost 1m ago (quota).", "Have it sent again", ""},
		"nothing listed any more": {Trace{Devices: dev(100*24*time.Hour, at(100*24*time.Hour))}, Silent, "nothing that is still listed; last heard of 100d0h ago", "", ""},
		"only through another beacon": {Trace{Since: before(time.Hour), Devices: dev(0), Uploads: []Upload{up(StateDelivered, time.Hour)}}, Reported, "was delivered", "",
			"not heard directly since 2026-11-22 11:00:00Z"},
		"never an inventory": {Trace{Devices: []Device{{Name: "pc1", LastSeen: now, Contacts: []Contact{at(0)}}}, Uploads: []Upload{up(StateDelivered, 0)}}, Reported,
			"pc1: its newest file", "", "never sent an inventory"},
		"clock, error, outbox": {Trace{Devices: dev(0, at(0, func(k *Contact) { k.SkewKnown, k.Skew, k.Error, k.Spool = true, -26*time.Hour, "no route", 4 })),
			Uploads: []Upload{up(StateDelivered, 0)}}, Reported, "", "", "the agent reports: no route; files waiting on the machine itself: 4; its clock is off by -26h0m0s"},
		"the outbox counted the file being sent": {Trace{Devices: []Device{{Name: "pc1", LastSeen: now, Contacts: []Contact{at(0, func(k *Contact) { k.Spool = 1 })},
			Kinds: []Activity{{Kind: "Inventories", Last: now}}}}, Uploads: []Upload{up(StateDelivered, 0)}}, Reported, "", "", ""},
		"in two domains": {Trace{Query: "pc1", Devices: []Device{{Domain: "A", Name: "pc1"}, {Domain: "B", Name: "pc1"}}}, Ambiguous,
			"2 machines fit: A/pc1, B/pc1.", `beacon trace "A/pc1"`, ""},
		"with and without its domain": {Trace{Query: "pc1", Devices: append(dev(time.Hour), Device{Name: "PC1", LastSeen: now, Contacts: []Contact{at(0)}}),
			Uploads: []Upload{up(StateDelivered, 0)}}, Reported, "EXAMPLE/pc1: its newest file", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := tt.trace.Verdict(now)
			if v.Code != tt.code || !strings.Contains(v.Text, tt.text) || !strings.Contains(v.Do, tt.do) {
				t.Errorf("verdict %s:\n%s\n%s\nwant %s, %q, %q", v.Code, v.Text, v.Do, tt.code, tt.text, tt.do)
			}
			if notes := strings.Join(v.Notes, "; "); !strings.Contains(notes, tt.note) || (tt.note == "") != (notes == "") {
				t.Errorf("notes %q, want %q", notes, tt.note)
			}
			if v.Do == "" && v.Code != Reported {
				t.Error("it does not say what to do")
			}
		})
	}
}

// What the catalogue gathers is what the verdict needs, from start to end.
func TestTraceFollowsADevice(t *testing.T) {
	j, c := newJournal(), fresh(t, Options{})
	expect := func(want VerdictCode, text string) {
		t.Helper()
		v := trace(t, c, " PC1 ").Verdict(j.at)
		if v.Code != want || !strings.Contains(v.Text, text) {
			t.Errorf("verdict %s: %s; want %s with %q", v.Code, v.Text, want, text)
		}
	}
	expect(NeverHeard, "PC1")
	see(t, c, seen(pc1, "a1", "192.0.2.7", j.at))
	expect(OnlyPolls, "192.0.2.7")
	see(t, c, seen(pc1, "a1", "192.0.2.7", j.at, func(s *Sighting) { s.Act, s.Status, s.Code, s.What = ActUpload, 507, "spool-full", "pc1.ndi" }))
	expect(Refused, "507 spool-full for pc1.ndi")
	e := j.put("Inventories", "pc1.ndi", pc1)
	catchUp(t, c, j)
	expect(InQueue, "has waited for disk and store")
	j.deliver(e, "store", false)
	catchUp(t, c, j)
	expect(InQueue, "has waited for disk for")
	j.deliver(e, "disk", true)
	catchUp(t, c, j)
	expect(Reported, "was delivered to disk")
	for _, query := range []string{"a1", "192.0.2.7", "example/pc1", "::ffff:192.0.2.7"} {
		if v := trace(t, c, query).Verdict(j.at); v.Code != Reported {
			t.Errorf("%s: %+v", query, v)
		}
	}
	j.at = j.at.Add(silentAfter + time.Hour)
	expect(Silent, "silent since")
}
