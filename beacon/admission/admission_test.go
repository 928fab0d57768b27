package admission

import (
	"errors"
	"testing"

	"inventorybeacon/beacon/comeback"
	"inventorybeacon/uploads"
)

func TestQuotaCountsWhatIsOnItsWay(t *testing.T) {
	held := map[string]Share{"full": {Files: 3}, "heavy": {Files: 1, Bytes: 900}}
	q := &Quota{Held: func(s string) (int, int64) { return held[s].Files, held[s].Bytes }}
	limit := Share{Files: 3, Bytes: 1000}
	reason := func(err error) Reason {
		if e, ok := errors.AsType[*QuotaError](err); ok {
			return e.Reason
		}
		return ""
	}
	for _, tt := range []struct {
		source string
		bytes  int64
		want   Reason
	}{
		{"full", 0, QuotaFiles},
		{"heavy", 100, ""}, {"heavy", 1, QuotaBytes}, {"heavy", 0, ""},
		{"new", 5000, ""}, // its first, whatever its size
		{"new", 1, QuotaBytes},
		{"many", 1, ""}, {"many", 1, ""}, {"many", 1, ""}, {"many", 1, QuotaFiles},
	} {
		if got := reason(q.Enter(tt.source, limit, tt.bytes)); got != tt.want {
			t.Errorf("%s, %d bytes: %q, want %q", tt.source, tt.bytes, got, tt.want)
		}
	}
	q.Leave("many", 1)
	if err := q.Enter("many", limit, 1); err != nil {
		t.Errorf("after one left: %v", err)
	}
	if err := q.Grow("many", limit, 2000); reason(err) != QuotaBytes {
		t.Errorf("growing beyond: %v", err)
	}
	if err := q.Grow("many", limit, 500); err != nil {
		t.Errorf("growing within: %v", err)
	}
	for range 3 {
		q.Leave("many", 0)
	}
	if _, ok := q.coming["many"]; ok {
		t.Error("a source that is gone is remembered")
	}
	if err := q.Enter("full", Share{}, 1); err != nil {
		t.Errorf("without a quota: %v", err)
	}
}

func TestPlacesKeepSomeForInventories(t *testing.T) {
	p := &Places{Limit: 16}
	take := func(c comeback.Class) (n int) {
		for p.Enter(c) {
			n++
		}
		return n
	}
	if n := take(comeback.Logs); n != 12 || !p.Half() {
		t.Errorf("logs got %d of 16", n)
	}
	if n := take(comeback.Usage); n != 2 {
		t.Errorf("usage got %d more", n)
	}
	if n := take(comeback.Inventory); n != 2 {
		t.Errorf("inventories got %d more", n)
	}
	p.Leave()
	if n := take(comeback.Logs); n != 0 {
		t.Errorf("logs got %d of what is kept for others", n)
	}
	one, none := &Places{Limit: 1}, &Places{}
	if !one.Enter(comeback.Logs) || one.Enter(comeback.Inventory) || none.Enter(comeback.Inventory) {
		t.Error("one place is not one, or none not none")
	}
}

func TestPlacesBoundBytes(t *testing.T) {
	p := &Places{Limit: 16, Bytes: 100}
	if !p.Load(1000) {
		t.Error("one large body did not fit alone")
	}
	if p.Load(1) {
		t.Error("another fitted beside it")
	}
	p.Unload(1000)
	if !p.Load(60) || !p.Load(40) || p.Load(1) || !p.Half() {
		t.Error("bytes are not counted")
	}
}

// Limits grow with the machine, and on the smallest there still is room for what
// one agent sends after an outage.
func TestPresetsSuitMachines(t *testing.T) {
	small := Preset(Machine{Cores: 1, Memory: 256 << 20, Disk: 2 << 30})
	large := Preset(Machine{Cores: 64, Memory: 256 << 30, Disk: 10 << 40})
	for _, l := range []Limits{small, large, Preset(Machine{})} {
		if l.Device.Bytes < 512<<20 || l.Device.Files < 1000 || l.Device.Files > l.Child.Files || l.Child.Files > l.Files || l.BytesInFlight < uploads.DefaultMaxBytes {
			t.Errorf("%+v", l)
		}
		if w := l.Watermarks; w.Policy > w.Uploads || w.Uploads > w.Logs {
			t.Errorf("%+v", w)
		}
		for e, r := range l.Rates {
			if r.Beacon < r.Child || r.Child < r.Peer || r.Peer < r.Agent || r.Agent <= 0 {
				t.Errorf("%v: %+v", e, r)
			}
		}
	}
	if small.Files >= large.Files || small.BytesInFlight >= large.BytesInFlight || small.Rates[Upload].Beacon >= large.Rates[Upload].Beacon {
		t.Errorf("small %+v\nlarge %+v", small, large)
	}
	// What the books of so many files cost must fit in the memory.
	if cost := int64(small.Files) * perFile; cost > 64<<20 {
		t.Errorf("%d files cost %d bytes", small.Files, cost)
	}
}

func TestOverrides(t *testing.T) {
	r := Rate{Beacon: 1, Child: 2, Peer: 3, Agent: 4}
	r.Override(Rate{Beacon: 10, Peer: -1})
	if r != (Rate{Beacon: 10, Child: 2, Peer: 0, Agent: 4}) {
		t.Errorf("%+v", r)
	}
	for _, tt := range []struct{ o, want Watermarks }{
		{Watermarks{}, Watermarks{200, 100, 25}},
		{Watermarks{Uploads: 1000}, Watermarks{2000, 1000, 250}},
		{Watermarks{Logs: 500, Policy: 50}, Watermarks{500, 100, 50}},
		{Watermarks{Logs: 50, Policy: 500}, Watermarks{100, 100, 100}}, // no mark passes the one before
	} {
		w := Watermarks{Logs: 200, Uploads: 100, Policy: 25}
		w.Override(tt.o)
		if w != tt.want {
			t.Errorf("%+v: %+v, want %+v", tt.o, w, tt.want)
		}
	}
}

func TestClasses(t *testing.T) {
	for _, k := range uploads.DefaultKinds().All() {
		want := comeback.Usage
		switch k.Folder {
		case "Inventories", "BeaconStatus", "Events", "CommandResults":
			want = comeback.Inventory
		case "Logs", "SecurityLogs":
			want = comeback.Logs
		}
		if got := ClassOf(k.Folder); got != want {
			t.Errorf("%s is %v", k.Folder, got)
		}
	}
}
