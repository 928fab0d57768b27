package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"inventorybeacon/beacon/desk"
	"inventorybeacon/uploads/catalogue"
)

// told asks a beacon and reads what it answers.
func told[T any](t *testing.T, s *server, args ...string) (out T) {
	t.Helper()
	text, said, err := command(t.Context(), "beacon", append(args, "--json", "--data", s.Data)...)
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, said)
	}
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%v: %v: %s", args, err, text)
	}
	return out
}

// polls is a policy request of a device that uploads nothing.
func polls(t *testing.T, s *server, name string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.Agents+"/ManageSoftDL/AgentConfigurations/EXAMPLE/"+name+".json", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Beacon-Agent", fmt.Sprintf(`name=%q, domain="EXAMPLE", version="1.4.0"`, name))
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// What a leaf hears of its devices is known at the centre, two beacons up, with
// the age of the leaf's word. Reports that could not be sent are replaced, and that
// is no loss.
func TestFleetStatusOfTree(t *testing.T) {
	t.Parallel()
	store, fast := t.TempDir(), "fleet: {every: 1s}\n"
	centre := treeBeacon(t, "centre", fmt.Sprintf("  - name: importer\n    directory: {path: %q}\n%s", store, fast))
	above := newFront(t)
	above.lead(centre.Agents)
	hub := treeBeacon(t, "hub", fmt.Sprintf("  - name: up\n    beacon: {url: %q}\n%s", above.root(), fast))
	leaf := treeBeacon(t, "leaf", fmt.Sprintf("  - name: up\n    beacon: {url: \"%s/ManageSoftRL\"}\n%s", hub.Agents, fast))

	putFile(t, leaf, "Logs", "ws1 at 20260310T172738.log", "hello")
	polls(t, leaf, "ws2")
	eventually(t, time.Minute, "the centre knows what the leaf heard", func() bool {
		all := told[[]catalogue.Device](t, centre, "agents", "list")
		i := slices.IndexFunc(all, func(d catalogue.Device) bool { return d.Name == "ws1" })
		return i >= 0 && all[i].Beacon == "leaf" && !all[i].Heard.IsZero() && len(all[i].Told) == 1 &&
			all[i].Told[0].Child == "hub" && !all[i].Told[0].Uploads["Logs"].IsZero()
	})
	if devices := told[[]catalogue.Device](t, centre, "agents", "list"); len(devices) != 1 {
		t.Errorf("reports made devices: %+v", devices)
	}
	eventually(t, 30*time.Second, "the centre traces who only polls the leaf", func() bool {
		v := told[desk.Traced](t, centre, "trace", "ws2").Verdict
		return v.Code == catalogue.Elsewhere && strings.Contains(v.Text, "leaf")
	})

	list := filepath.Join(t.TempDir(), "expected.csv")
	if err := os.WriteFile(list, []byte("name,domain\nws1\nws2,EXAMPLE\nws3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	told[desk.Expected](t, centre, "agents", "expect", list)
	causes := map[string]catalogue.Cause{}
	for _, l := range told[[]catalogue.Late](t, centre, "agents", "list", "--late") {
		causes[l.Name] = l.Cause
	}
	if causes["ws1"] != catalogue.CauseInventory || causes["ws2"] != catalogue.CauseNoUpload || causes["ws3"] != catalogue.CauseNever {
		t.Errorf("late: %v", causes)
	}
	if never := told[[]catalogue.Late](t, centre, "agents", "list", "--never"); len(never) != 1 || never[0].Name != "ws3" {
		t.Errorf("never: %+v", never)
	}

	above.lead("")
	waiting := func() (waiting, replaced int) {
		for _, u := range told[[]catalogue.Upload](t, hub, "uploads", "list", "--kind", "BeaconStatus") {
			if len(u.Via) > 0 {
				continue // another's: not the hub's to replace
			}
			switch u.State {
			case catalogue.StateWaiting:
				waiting++
			case catalogue.StateReplaced:
				replaced++
			}
		}
		return waiting, replaced
	}
	eventually(t, time.Minute, "a newer report has replaced two", func() bool {
		n, replaced := waiting()
		return replaced >= 2 && n <= 2
	})
	if lost := told[[]catalogue.Loss](t, hub, "uploads", "losses"); len(lost) != 0 {
		t.Errorf("losses: %+v", lost)
	}
	polls(t, leaf, "ws4")
	above.lead(centre.Agents)
	eventually(t, time.Minute, "the centre knows what was heard meanwhile", func() bool {
		return told[desk.Traced](t, centre, "trace", "ws4").Verdict.Code == catalogue.Elsewhere
	})
}
