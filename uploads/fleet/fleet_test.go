package fleet_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/fleet"
)

var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

func TestCutTellsWhatChanged(t *testing.T) {
	first, c := fleet.Cut{}.Next(7, 10, noon)
	if !first.Full || c != (fleet.Cut{Index: 7, Change: 10, Contacts: noon, Full: noon}) {
		t.Fatalf("first: %+v %+v", first, c)
	}
	for name, test := range map[string]struct {
		index, change int64
		after         time.Duration
		want          fleet.Span
	}{
		"soon after, changes alone":    {7, 12, 5 * time.Minute, fleet.Span{Change: 10}},
		"an hour later, contacts too":  {7, 12, time.Hour, fleet.Span{Change: 10, Contacts: noon.Add(-2 * time.Minute)}},
		"a day later, everything":      {7, 12, 24 * time.Hour, fleet.Span{Full: true}},
		"of another index, everything": {8, 12, time.Minute, fleet.Span{Full: true}},
		"of an older index":            {7, 9, time.Minute, fleet.Span{Full: true}},
		"the clock was set back":       {7, 12, -time.Minute, fleet.Span{Full: true}},
	} {
		t.Run(name, func(t *testing.T) {
			got, next := c.Next(test.index, test.change, noon.Add(test.after))
			if got != test.want || next.Change != test.change || next.Index != test.index {
				t.Errorf("%+v, then %+v", got, next)
			}
		})
	}
}

// What was not delivered is told again: the next report begins where the last
// delivered one ended, however many were made since.
func TestCutOfUndeliveredReportIsNotUsed(t *testing.T) {
	_, delivered := fleet.Cut{}.Next(7, 10, noon)
	for i := range int64(5) {
		span, _ := delivered.Next(7, 11+i, noon.Add(time.Duration(i+1)*5*time.Minute))
		if span.Change != 10 {
			t.Errorf("report %d tells of changes after %d", i, span.Change)
		}
	}
}

func report(t *testing.T, devices int) (body []byte, gzipped bool) {
	t.Helper()
	w, err := fleet.NewWriter(fleet.Beacon{Beacon: "leaf", At: noon, EverySeconds: 300, Full: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range devices {
		d := fleet.Device{Name: fmt.Sprintf("ws-%05d", i), Domain: "EXAMPLE", Seen: noon, Address: "192.0.2.7", Uploads: map[string]time.Time{"Inventories": noon}}
		if err := w.Add(d); err != nil {
			t.Fatal(err)
		}
	}
	body, gzipped, err = w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return body, gzipped
}

func read(body []byte, gzipped bool) (b fleet.Beacon, all []fleet.Device, passed int, err error) {
	passed, err = fleet.Read(bytes.NewReader(body), gzipped, noon,
		func(got fleet.Beacon) error { b = got; return nil },
		func(some []fleet.Device) error { all = append(all, some...); return nil })
	return b, all, passed, err
}

func TestReportIsReadAsItWasWritten(t *testing.T) {
	for _, n := range []int{0, 3, 20_000} {
		body, gzipped := report(t, n)
		if gzipped != (n > 3) {
			t.Errorf("%d devices: gzipped %v", n, gzipped)
		}
		if n > 3 && len(body) > n*60 {
			t.Errorf("%d devices take %d bytes", n, len(body))
		}
		b, all, passed, err := read(body, gzipped)
		if err != nil || passed != 0 || len(all) != n || b.Beacon != "leaf" || !b.At.Equal(noon) || !b.Full {
			t.Fatalf("%d devices: %+v, %d, %d passed over, %v", n, b, len(all), passed, err)
		}
		if n > 0 && (all[n-1].Name != fmt.Sprintf("ws-%05d", n-1) || !all[n-1].Uploads["Inventories"].Equal(noon)) {
			t.Errorf("the last is %+v", all[n-1])
		}
	}
}

func TestHostileReportIsBounded(t *testing.T) {
	const head = `{"version":1,"beacon":"leaf","at":"2026-03-10T12:00:00Z","news":{"of":"a later version"}}` + "\n"
	for name, body := range map[string]string{
		"empty":            "",
		"no JSON":          "hello\n",
		"a later format":   `{"version":2,"beacon":"leaf","at":"2026-03-10T12:00:00Z"}`,
		"nobody":           `{"version":1,"at":"2026-03-10T12:00:00Z"}`,
		"a line too long":  head + `{"device":"` + strings.Repeat("x", 20<<10) + `"}`,
		"a broken line":    head + `{"device":"ws1","seen":"2026-03-10T11:00:00Z"}` + "\n{",
		"another language": head + `[]`,
	} {
		if _, _, _, err := read([]byte(body), false); !errors.Is(err, fleet.ErrReport) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, _, err := read([]byte("no gzip"), true); !errors.Is(err, fleet.ErrReport) {
		t.Errorf("no gzip: %v", err)
	}
	body := head + strings.Join([]string{
		`{"device":"","seen":"2026-03-10T11:00:00Z"}`, `{"device":"ws0"}`, `{"device":"` + strings.Repeat("n", 300) + `","seen":"2026-03-10T11:00:00Z"}`, "",
		`{"device":"ws1","seen":"2099-01-01T00:00:00Z","error":"` + strings.Repeat("e", 1000) + `","uploads":{"Logs":"2099-01-01T00:00:00Z"},"later":1}`,
	}, "\n")
	_, all, passed, err := read([]byte(body), false)
	if err != nil || passed != 3 || len(all) != 1 {
		t.Fatalf("%d devices, %d passed over, %v", len(all), passed, err)
	}
	if d := all[0]; !d.Seen.Equal(noon) || !d.Uploads["Logs"].Equal(noon) || len(d.Error) != 300 {
		t.Errorf("not cut: %+v", d)
	}
}

func TestNameIsOfNoDevice(t *testing.T) {
	for _, beacon := range []string{"leaf", "Außenstelle 1", "-x", strings.Repeat("long ", 60)} {
		n, err := fleet.Name(beacon, noon, true, true)
		if err != nil || !fleet.IsFull(n) || !n.Parts().At.Equal(noon) || n.Ext() != ".ndjson" {
			t.Errorf("%q: %v, %v", beacon, n, err)
		}
	}
	for _, test := range []struct {
		u    uploads.Upload
		want bool
	}{
		{uploads.Upload{Kind: "BeaconStatus"}, true},
		{uploads.Upload{Kind: "BeaconStatus", Via: []string{"leaf"}, Peer: "192.0.2.1"}, true},
		{uploads.Upload{Kind: "BeaconStatus", Peer: "192.0.2.1"}, false}, // an agent's idea
		{uploads.Upload{Kind: "Events", Via: []string{"leaf"}}, false},
	} {
		if fleet.OfBeacon(test.u) != test.want {
			t.Errorf("%+v: not %v", test.u, test.want)
		}
	}
}

func TestExpectedTellsAllMistakes(t *testing.T) {
	good := "\uFEFFName,Domain,Place\nws1,EXAMPLE,Berlin\n# spare\n ws2\n\"ws,3\",\nws1,OTHER\n"
	devices, err := fleet.ParseExpected([]byte(good))
	if err != nil || fmt.Sprint(devices) != "[EXAMPLE/ws1 ws2 ws,3 OTHER/ws1]" {
		t.Errorf("%v, %v", devices, err)
	}
	if again, err := fleet.ParseExpected(fleet.FormatExpected(devices)); err != nil || fmt.Sprint(again) != fmt.Sprint(devices) {
		t.Errorf("written and read: %v, %v", again, err)
	}
	_, err = fleet.ParseExpected([]byte("ws1\n,EXAMPLE\nWS1\n" + strings.Repeat("n", 300) + "\n"))
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Fatal(err)
	}
	for _, want := range []string{"line 2: the name is empty", "line 3: WS1 is on line 1 already", "line 4: the name"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	for _, text := range []string{"", "name\n", "# nobody\n"} {
		if _, err := fleet.ParseExpected([]byte(text)); err == nil {
			t.Errorf("%q names somebody", text)
		}
	}
}
