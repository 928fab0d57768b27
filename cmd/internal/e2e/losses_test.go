package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"inventorybeacon/beacon/desk"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
)

func losses(t *testing.T, s *server, f catalogue.LossFilter) []catalogue.Loss {
	t.Helper()
	found, err := desk.ListLosses.Ask(t.Context(), s.Data, f)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// held reports whether a HEAD of the file answers 200.
func held(t *testing.T, s *server, r uploads.Receipt) bool {
	t.Helper()
	resp, err := plainClient.Head(s.Agents + "/ManageSoftRL/" + r.Kind + "/" + url.PathEscape(r.Name))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// The centre hears of a loss further down, once, also if the beacon that lost it was
// killed meanwhile; and that it was made good.
func TestLossReachesTheCentre(t *testing.T) {
	if !full() {
		t.Skip("waits for a minute in which losses gather: BEACON_TEST_FULL=1 runs it")
	}
	t.Parallel()
	hub := start(t, filepath.Join(t.TempDir(), "hub"))
	config := configured(t, fmt.Sprintf("  - {name: hub, beacon: {url: %q}}\nkinds:\n  Inventories: {check: refuse}\n", hub.Agents+"/ManageSoftRL"))
	data := filepath.Join(t.TempDir(), "edge")
	edge := start(t, data, "--config", config)
	const name = "pc1 at 20260301T120000.ndi"
	bad := `<?xml version="1.0"?><Inventory MachineName="pc1" Scope="D">` + strings.Repeat("<a/>", 2000) + "</b></Inventory>"
	r := putFile(t, edge, "Inventories", name, bad)
	eventually(t, 30*time.Second, "it is lost", func() bool { return len(losses(t, edge, catalogue.LossFilter{Open: true})) == 1 })
	if held(t, edge, r) {
		t.Error("what was lost is said to be held")
	}
	edge.kill()
	edge = start(t, data, "--config", config)
	eventually(t, 3*time.Minute, "the centre knows", func() bool { return len(losses(t, hub, catalogue.LossFilter{})) > 0 })
	told := losses(t, hub, catalogue.LossFilter{})
	if len(told) != 1 || told[0].Receipt != r.ID || told[0].Beacon != r.Beacon || told[0].Reason != "refused" || told[0].Device != "pc1" {
		t.Errorf("%+v", told)
	}
	if out, _, err := command(t.Context(), "beacon", "uploads", "quarantine", "release", r.ID, "--data", edge.Data); err != nil {
		t.Fatal(out, err)
	}
	eventually(t, 30*time.Second, "it was made good at both", func() bool {
		return len(losses(t, edge, catalogue.LossFilter{Open: true})) == 0 && len(losses(t, hub, catalogue.LossFilter{Open: true})) == 0
	})
	reports, err := desk.ListUploads.Ask(t.Context(), hub.Data, catalogue.UploadFilter{Kind: "Events"})
	if err != nil || len(reports) != 1 || !slices.Equal(reports[0].Via, []string{r.Beacon}) {
		t.Errorf("reports %+v, %v", reports, err)
	}
}
