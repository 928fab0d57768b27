package catalogue

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"inventorybeacon/uploads"
)

func counts(t *testing.T, c *Catalogue) Counts {
	t.Helper()
	n, err := c.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func from(peer string, via ...string) func(*uploads.Upload) {
	return func(u *uploads.Upload) { u.Peer, u.Via = peer, via }
}

func TestDeviceComesFromAnAcceptedUploadAlone(t *testing.T) {
	j, c := newJournal(), fresh(t, Options{})
	see(t, c, seen(pc1, "a1", "192.0.2.7", j.at))
	if n := counts(t, c); n.Devices != 0 || n.Strangers != 1 {
		t.Fatalf("after a poll: %+v", n)
	}
	first := j.at
	j.put("Inventories", "pc1.ndi", uploads.Device{Domain: "example", Name: "PC1"})
	catchUp(t, c, j)
	if n := counts(t, c); n.Devices != 1 || n.Strangers != 0 {
		t.Fatalf("after an upload: %+v", n)
	}
	d := device(t, c, "Example/pC1")
	want := Contact{
		Domain: "EXAMPLE", Name: "pc1", AgentID: "a1", FirstSeen: first, LastSeen: first, Requests: 1, Address: "192.0.2.7",
		Version: "1.0", Revision: 3, Digest: "d", Spool: 2, Skew: time.Minute, SkewKnown: true,
	}
	if diff := cmp.Diff(want, d.Latest()); diff != "" {
		t.Error(diff)
	}
	if !d.FirstSeen.Equal(first) || !d.LastSeen.Equal(j.at) {
		t.Errorf("seen from %v to %v", d.FirstSeen, d.LastSeen)
	}
}

func TestDeviceCaps(t *testing.T) {
	j, c := newJournal(), fresh(t, Options{MaxDevices: 12, DevicesPerPeer: 3, DevicesPerChild: 5})
	put := func(n int, name string, u func(*uploads.Upload)) {
		for i := range n {
			name := fmt.Sprintf("%s%d", name, i)
			j.put("Logs", name+".log", uploads.Device{Name: name}, u)
		}
	}
	put(5, "four", from("192.0.2.1"))
	for i := range 5 { // one network, another address each time
		put(1, fmt.Sprintf("six%d-", i), from(fmt.Sprintf("2001:db8:0:1::%x", i)))
	}
	put(7, "child", from("192.0.2.1", "b2"))
	put(5, "late", from("192.0.2.9"))
	put(1, "four", from("192.0.2.1")) // known: no cap
	catchUp(t, c, j)
	got := map[string]int{}
	all, err := c.Devices(t.Context(), DeviceFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		got[strings.TrimRight(d.Name, "-0123456789")]++
	}
	want := map[string]int{"four": 3, "six": 3, "child": 5, "late": 1}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if n := counts(t, c); n.OtherUploads != 2+2+2+4 || c.Stats().DevicesRefused != 10 {
		t.Errorf("the rest: %d, %d", n.OtherUploads, c.Stats().DevicesRefused)
	}
	if n := len(listed(t, c, UploadFilter{})); n != 23 {
		t.Errorf("%d uploads listed, want all 23", n)
	}
	if d := device(t, c, "four0"); d.Uploads != 2 {
		t.Errorf("four0: %+v", d)
	}
}

func TestStrangersAreBounded(t *testing.T) {
	c := fresh(t, Options{MaxStrangers: 5, StrangersPerPeer: 3})
	at := newJournal().at
	for i := range 4 {
		see(t, c, seen(uploads.Device{Name: fmt.Sprint("a", i)}, "", "192.0.2.1", at.Add(time.Duration(i)*time.Second)))
	}
	if n := counts(t, c); n.Strangers != 3 || n.OtherContacts != 1 {
		t.Errorf("from one peer: %+v", n)
	}
	for i := range 4 {
		see(t, c, seen(uploads.Device{Name: fmt.Sprint("b", i)}, "", fmt.Sprint("192.0.2.1", i), at.Add(time.Minute)))
	}
	if n := counts(t, c); n.Strangers != 5 || n.OtherContacts != 3 || c.Stats().StrangersDropped != 3 {
		t.Errorf("from several: %+v, %+v", n, c.Stats())
	}
	for query, want := range map[string]int{"a0": 0, "a2": 1, "b3": 1} { // the oldest made room
		if tr := trace(t, c, query); len(tr.Strangers) != want {
			t.Errorf("%s: %d strangers, want %d", query, len(tr.Strangers), want)
		}
	}
}

func trace(t *testing.T, c *Catalogue, name string) Trace {
	t.Helper()
	tr, err := c.Trace(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// One row, however often it calls between two writes; the newest word counts, whatever the order.
func TestContactsAreJoined(t *testing.T) {
	j, c := newJournal(), fresh(t, Options{})
	e := j.put("Logs", "a.log", pc1)
	catchUp(t, c, j)
	at := e.At
	for i := range 100 {
		c.Seen(seen(pc1, "a1", "192.0.2.7", at.Add(time.Duration(i)*time.Second)))
	}
	c.Seen(seen(pc1, "a1", "192.0.2.8", at.Add(time.Hour), func(s *Sighting) {
		s.Act, s.Status, s.Code, s.What = ActPolicy, 404, "not-found", "Policies/"+strings.Repeat("ü", 300)
	}))
	c.Seen(seen(pc1, "a1", "192.0.2.9", at.Add(time.Minute)))
	see(t, c, seen(pc1, "a1", "192.0.2.8", at.Add(2*time.Hour), func(s *Sighting) {
		s.Act, s.Status, s.Code, s.What, s.Contact.Error = ActUpload, 415, "bad-kind", "a.exe", "refused"
	}))
	see(t, c, seen(pc1, "a1", "192.0.2.8", at.Add(3*time.Hour))) // says nothing of either
	k := device(t, c, "pc1").Latest()
	if k.Requests != 104 || k.Address != "192.0.2.8" || !k.LastSeen.Equal(at.Add(3*time.Hour)) || k.Error != "" {
		t.Errorf("contact: %+v", k)
	}
	if p := k.Policy; p.Status != 404 || p.Code != "not-found" || len(p.What) != maxWhat-1 || !p.At.Equal(at.Add(time.Hour)) {
		t.Errorf("policy: %+v", p)
	}
	if r := k.Refusal; r.Status != 415 || r.Code != "bad-kind" || r.What != "a.exe" {
		t.Errorf("refusal: %+v", r)
	}
}

func TestSightingsBeyondTheBufferAreCounted(t *testing.T) {
	c := fresh(t, Options{})
	at := newJournal().at
	for i := range sightingBuffer + 10 {
		c.Seen(seen(uploads.Device{Name: fmt.Sprint("pc", i)}, "", "192.0.2.1", at))
	}
	if s := c.Stats(); s.Sightings != sightingBuffer || s.SightingsDropped != 10 {
		t.Errorf("stats: %+v", s)
	}
}

// TestSightingKeepsNoRequest: all that is kept of a request is a part of its line,
// which may have 32 KiB.
func TestSightingKeepsNoRequest(t *testing.T) {
	c := fresh(t, Options{})
	at := newJournal().at
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	const requests = 2000
	for i := range requests {
		line := fmt.Sprintf("pc%05d", i) + strings.Repeat("x", 32<<10)
		s := seen(uploads.Device{Domain: line[:2], Name: line[:7]}, "", "192.0.2.1", at)
		s.Act, s.Status, s.What = ActUpload, 404+11, line
		c.Seen(s)
	}
	if grown := int64(heap()) - int64(before); grown > requests*4<<10 {
		t.Errorf("%d bytes each", grown/requests)
	}
	if s := c.Stats(); s.Sightings != requests {
		t.Errorf("stats: %+v", s)
	}
}

// TestNameLongerThanAnyHostIsNobody: whoever makes up names must not fill the memory
// with them.
func TestNameLongerThanAnyHostIsNobody(t *testing.T) {
	c := fresh(t, Options{})
	at := newJournal().at
	for i := range 10 {
		c.Seen(seen(uploads.Device{Name: fmt.Sprint(i, strings.Repeat("x", maxDevice))}, "", "192.0.2.1", at))
	}
	c.Seen(seen(uploads.Device{Name: strings.Repeat("x", maxDevice)}, "", "192.0.2.1", at))
	if n := len(c.sightings.take()); n != 2 {
		t.Errorf("%d identities", n)
	}
}

func TestDeviceThatCallsForOthersIsItself(t *testing.T) {
	j, c := newJournal(), fresh(t, Options{})
	j.put("Logs", "pc1.log", pc1)
	j.put("Logs", "pc2.log", pc2)
	catchUp(t, c, j)
	see(t, c, seen(pc2, "a1", "192.0.2.7", j.at, func(s *Sighting) { s.Contact.Name = "pc1" }))
	if d := device(t, c, "pc1"); len(d.Contacts) != 1 {
		t.Errorf("pc1: %+v", d)
	}
	if d := device(t, c, "pc2"); len(d.Contacts) != 0 {
		t.Errorf("pc2: %+v", d)
	}
}

func TestSharedPathIsContactOfItsAddress(t *testing.T) {
	c := fresh(t, Options{})
	at := newJournal().at
	for _, peer := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.1"} {
		see(t, c, Sighting{At: at, Peer: peer, Act: ActPolicy, Status: 200})
	}
	if n := counts(t, c); n.Strangers != 2 {
		t.Errorf("%d strangers, want 2 addresses", n.Strangers)
	}
	if tr := trace(t, c, "192.0.2.1"); len(tr.Strangers) != 1 || tr.Strangers[0].Requests != 2 || tr.Strangers[0].Name != "" {
		t.Errorf("strangers: %+v", tr.Strangers)
	}
	if tr := trace(t, c, "device"); len(tr.Strangers) != 0 {
		t.Errorf("a machine called device: %+v", tr.Strangers)
	}
}

// An old agent polls with its domain, but its files do not tell it.
func TestDeviceWithoutDomainTakesItsPolls(t *testing.T) {
	j, c := newJournal(), fresh(t, Options{})
	poll := Sighting{At: j.at, Device: uploads.Device{Domain: "EXAMPLE", Name: "OLD"}, Peer: "192.0.2.7", Act: ActPolicy, Status: 200}
	see(t, c, poll)
	j.put("Inventories", "old at 20261122T080000.ndi", uploads.Device{Name: "old"})
	catchUp(t, c, j)
	poll.At = j.at.Add(time.Hour)
	see(t, c, poll)
	for _, query := range []string{"old", "example/old", "192.0.2.7"} {
		if d := device(t, c, query); d.Latest().Requests != 2 || d.Uploads != 1 || !d.LastSeen.Equal(poll.At) {
			t.Errorf("%s: %+v", query, d)
		}
	}
	if got, err := c.Device(t.Context(), "other/old"); err != nil || len(got) != 0 {
		t.Errorf("other/old: %+v, %v", got, err)
	}
	// A file that tells the domain makes it a device of its own, with its polls.
	j.put("Inventories", "old at 20261122T090000.ndi", uploads.Device{Domain: "EXAMPLE", Name: "old"})
	catchUp(t, c, j)
	if d := device(t, c, "EXAMPLE/old"); len(d.Contacts) != 1 || d.Uploads != 1 {
		t.Errorf("with its domain: %+v", d)
	}
}

func TestDeviceNameEscapedInFileIsTheSame(t *testing.T) {
	j, c := newJournal(), fresh(t, Options{})
	name := "a/b@c ü"
	j.put("Logs", uploads.EscapeDevice(name)+" at 20261122T080000.log", uploads.Device{Domain: "D", Name: uploads.EscapeDevice(name)})
	catchUp(t, c, j)
	see(t, c, seen(uploads.Device{Domain: "D", Name: name}, "a1", "192.0.2.7", j.at))
	for _, query := range []string{name, "d/" + name, uploads.EscapeDevice(name)} {
		if d := device(t, c, query); len(d.Contacts) != 1 || d.Uploads != 1 {
			t.Errorf("%s: %+v", query, d)
		}
	}
	// A true name that looks escaped is another device's.
	looks := "a@2Fb@40c"
	j.put("Logs", uploads.EscapeDevice(looks)+" at 20261122T090000.log", uploads.Device{Domain: "D", Name: uploads.EscapeDevice(looks)})
	catchUp(t, c, j)
	for query, want := range map[string]string{looks: uploads.EscapeDevice(looks), uploads.EscapeDevice(looks): uploads.EscapeDevice(looks), name: uploads.EscapeDevice(name)} {
		if d := device(t, c, query); d.Name != want || d.Uploads != 1 {
			t.Errorf("%s: %+v, want %s", query, d, want)
		}
	}
	for _, s := range []string{"a@ZZ", "a@c3", "@", "a@C3", "100@2"} { // only looks escaped
		if _, got := keys(uploads.Device{Name: s}); got != strings.ToLower(s) {
			t.Errorf("%q: key %q", s, got)
		}
	}
}

func TestClonesAreShownAndNotMerged(t *testing.T) {
	other := uploads.Device{Domain: "EXAMPLE", Name: "pc9"}
	for name, tt := range map[string]struct {
		sightings []Sighting
		want      string // in the detail; empty for no clone
	}{
		"one of each":            {[]Sighting{seen(pc1, "a1", "192.0.2.1", day().at)}, ""},
		"no id beside an id":     {[]Sighting{seen(pc1, "a1", "192.0.2.1", day().at), seen(pc1, "", "192.0.2.2", day().at)}, ""},
		"same, another address":  {[]Sighting{seen(pc1, "a1", "192.0.2.1", day().at), seen(pc1, "a1", "192.0.2.2", day().at)}, ""},
		"case of the name":       {[]Sighting{seen(pc1, "a1", "192.0.2.1", day().at), seen(uploads.Device{Domain: "example", Name: "PC1"}, "a1", "192.0.2.1", day().at)}, ""},
		"domain left out":        {[]Sighting{seen(pc1, "a1", "192.0.2.1", day().at), seen(uploads.Device{Name: "pc1"}, "a1", "192.0.2.1", day().at)}, ""},
		"one name, two ids":      {[]Sighting{seen(pc1, "a1", "192.0.2.1", day().at), seen(pc1, "a2", "192.0.2.2", day().at)}, "2 agent ids use this name"},
		"one id, two names":      {[]Sighting{seen(pc1, "a1", "192.0.2.1", day().at), seen(pc2, "a1", "192.0.2.2", day().at)}, "its agent id is also used by a1 of EXAMPLE/pc2 at 192.0.2.2"},
		"one id, a stranger too": {[]Sighting{seen(pc1, "a1", "192.0.2.1", day().at), seen(other, "a1", "192.0.2.2", day().at)}, "its agent id is also used by a1 of EXAMPLE/pc9"},
	} {
		t.Run(name, func(t *testing.T) {
			c := filled(t, day())
			see(t, c, tt.sightings...)
			d := device(t, c, "example/pc1")
			if d.Clone != (tt.want != "") || !strings.Contains(d.CloneDetail, tt.want) {
				t.Errorf("clone %v: %s", d.Clone, d.CloneDetail)
			}
			list, err := c.Devices(t.Context(), DeviceFilter{Clones: true, Text: "pc1"})
			if err != nil || len(list) != len(strings.Fields(tt.want))/max(1, len(strings.Fields(tt.want))) {
				t.Errorf("listed as clones: %+v, %v", list, err)
			}
			if name == "one name, two ids" && (len(d.Contacts) != 2 || d.Contacts[0].Address == d.Contacts[1].Address) {
				t.Errorf("merged: %+v", d.Contacts)
			}
		})
	}
}

// A machine installed anew is a clone of itself only for a while.
func TestCloneIsForgottenWhenOneIsSilent(t *testing.T) {
	j := day()
	c := filled(t, j)
	see(t, c, seen(pc1, "old", "192.0.2.1", j.at))
	later := j.at.Add(cloneWindow + time.Hour)
	see(t, c, seen(pc1, "new", "192.0.2.1", later))
	if d := device(t, c, "pc1"); !d.Clone {
		t.Fatal("no clone; the test shows nothing")
	}
	if err := c.prune(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	if d := device(t, c, "pc1"); d.Clone || len(d.Contacts) != 1 || d.Latest().AgentID != "new" {
		t.Errorf("after a month: %+v", d)
	}
}

func TestIdentitiesOfOneDeviceAreBounded(t *testing.T) {
	j := day()
	c := filled(t, j)
	for i := range 3 * identitiesPerDevice {
		see(t, c, seen(pc1, fmt.Sprint("made-up-", i), "192.0.2.1", j.at.Add(time.Duration(i)*time.Second)))
	}
	d := device(t, c, "pc1")
	if len(d.Contacts) != identitiesPerDevice || d.Latest().AgentID != fmt.Sprint("made-up-", 3*identitiesPerDevice-1) {
		t.Errorf("%d identities, the latest %s", len(d.Contacts), d.Latest().AgentID)
	}
	if n := c.Stats().IdentitiesDropped; n != 2*identitiesPerDevice {
		t.Errorf("%d dropped", n)
	}
}

func TestDevicesAreListed(t *testing.T) {
	j := newJournal()
	j.put("Logs", "b.log", uploads.Device{Domain: "X", Name: "Beta"})
	j.put("Logs", "a.log", uploads.Device{Domain: "Y", Name: "alpha"}, func(u *uploads.Upload) { u.Size = 1000 })
	middle := j.put("Logs", "c.log", uploads.Device{Domain: "x", Name: "GAMMA_1"})
	j.put("Logs", "b2.log", uploads.Device{Domain: "x", Name: "beta"})
	c := filled(t, j)
	see(t, c, seen(uploads.Device{Domain: "Y", Name: "alpha"}, "a1", "192.0.2.77", j.at.Add(time.Hour)))
	for name, tt := range map[string]struct {
		f    DeviceFilter
		want string
	}{
		"by name":       {DeviceFilter{}, "alpha Beta GAMMA_1"},
		"by seen":       {DeviceFilter{Order: BySeen}, "alpha Beta GAMMA_1"},
		"by silence":    {DeviceFilter{Order: BySilent}, "GAMMA_1 Beta alpha"},
		"by bytes":      {DeviceFilter{Order: ByBytes}, "alpha Beta GAMMA_1"},
		"page":          {DeviceFilter{Limit: 1, Offset: 1}, "Beta"},
		"part of name":  {DeviceFilter{Text: "AMMA_"}, "GAMMA_1"},
		"no wildcard":   {DeviceFilter{Text: "AMMA%"}, ""},
		"domain":        {DeviceFilter{Text: "X"}, "Beta GAMMA_1"},
		"address":       {DeviceFilter{Text: "192.0.2.77"}, "alpha"},
		"silent":        {DeviceFilter{SilentSince: middle.At.Add(time.Millisecond)}, "GAMMA_1"},
		"heard":         {DeviceFilter{Since: middle.At.Add(time.Millisecond)}, "alpha Beta"},
		"several words": {DeviceFilter{Text: "x", Since: middle.At.Add(time.Millisecond)}, "Beta"},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := c.Devices(t.Context(), tt.f)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range all {
				got = append(got, d.Name)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got %v, want %s", got, tt.want)
			}
		})
	}
	if _, err := c.Devices(t.Context(), DeviceFilter{Order: "name; DROP TABLE devices"}); err == nil {
		t.Error("an order that does not exist was taken")
	}
}

// What agents and files call themselves is stored, found, listed and sorted as
// it is, and reads as nothing else.
func TestHostileNamesAreOnlyNames(t *testing.T) {
	hostile := []string{
		`'; DROP TABLE uploads; --`, `" OR ""="`, `%`, `_`, `\`, `?1`, `:a`, `$b`, `@c`, `NULL`, `1 UNION SELECT 1`,
		"a\x00b", "new\nline", "\xff\xfe", strings.Repeat("x", 255), `/*`, `x') OR ('1'='1`, "İ", "ß", `[a-z]`, `*`, "\u202eevil",
	}
	j, c := newJournal(), fresh(t, Options{})
	for i, s := range hostile {
		e := j.put("Logs", fmt.Sprintf("f%d.log", i), hostileDevice(s), func(u *uploads.Upload) {
			u.AgentID, u.Beacon, u.Via = s, s, []string{s}
		})
		lost := j.deliver(e, s, false)
		lost.Detail = s
		j.lose(e, s)
	}
	catchUp(t, c, j)
	for _, s := range hostile {
		d := hostileDevice(s)
		see(t, c, seen(d, s, s, j.at, func(x *Sighting) { x.Contact.Error, x.What, x.Code = s, s, s }))
	}
	for i, s := range hostile {
		name := "pc" + s
		if got := listed(t, c, UploadFilter{Device: name}); len(got) != 1 || got[0].Device != name || got[0].Via[0] != strings.ToValidUTF8(s, "\ufffd\ufffd") || got[0].Name != fmt.Sprintf("f%d.log", i) {
			t.Errorf("%q: uploads %+v", s, got)
		}
		if got := device(t, c, hostileDevice(s).Domain+"/"+name); got.Name != name || got.Latest().AgentID != s || got.Latest().Error != s {
			t.Errorf("%q: device %+v", s, got)
		}
		if got, err := c.Losses(t.Context(), LossFilter{Device: name}); err != nil || len(got) != 1 || got[0].Reason != s {
			t.Errorf("%q: losses %+v, %v", s, got, err)
		}
		if got := listed(t, c, UploadFilter{Kind: s}); len(got) != 0 {
			t.Errorf("%q as a kind finds %d", s, len(got))
		}
		if got := listed(t, c, UploadFilter{State: State(s)}); len(got) != 0 {
			t.Errorf("%q as a state finds %d", s, len(got))
		}
		if tr := trace(t, c, name); tr.Verdict(j.at).Code != WasLost {
			t.Errorf("%q: verdict %+v", s, tr.Verdict(j.at))
		}
	}
	for order := range orders {
		if all, err := c.Devices(t.Context(), DeviceFilter{Order: order}); err != nil || len(all) != len(hostile) {
			t.Errorf("order %q: %d devices, %v", order, len(all), err)
		}
	}
}

// hostileDevice has no slash in its domain: DOMAIN/name is read up to the first.
func hostileDevice(s string) uploads.Device {
	return uploads.Device{Domain: "D" + strings.ReplaceAll(s, "/", "|"), Name: "pc" + s}
}
