package catalogue

import (
	"slices"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/kept"
	"inventorybeacon/uploads/ledger"
	"inventorybeacon/uploads/spool"
)

func keptFile(u uploads.Upload, losses ...ledger.Loss) KeptFile {
	return KeptFile{Losses: losses, Entry: kept.Entry{
		ID: uploads.ReceiptID(u.Kind, u.Name, u.Digest), Kind: u.Kind, Name: u.Name, Device: u.Device, Digest: u.Digest, Size: u.Size, Received: u.Received,
	}}
}

func TestKeptFilesShow(t *testing.T) {
	j := newJournal()
	a, b := j.put("Inventories", "a.ndi", pc1), j.put("Inventories", "b.ndi", pc1)
	j.deliver(a, "disk", true)
	c := filled(t, j)
	are := func(want ...string) {
		t.Helper()
		found, err := c.Uploads(t.Context(), UploadFilter{Kept: true})
		if err != nil || !slices.Equal(namesOf(found), want) {
			t.Errorf("kept %q, %v; want %q", namesOf(found), err, want)
		}
		counts, err := c.Counts(t.Context())
		if err != nil || counts.Kept != int64(len(want)) {
			t.Errorf("%d counted, %v", counts.Kept, err)
		}
	}
	are()
	if err := c.ReplaceKept(t.Context(), slices.Values([]KeptFile{keptFile(a.Upload)})); err != nil {
		t.Fatal(err)
	}
	are("a.ndi")
	if err := c.ChangeKept(t.Context(), []KeptFile{keptFile(b.Upload)}, []string{keptFile(a.Upload).ID, "unknown"}); err != nil {
		t.Fatal(err)
	}
	are("b.ndi")
	if err := c.ReplaceKept(t.Context(), slices.Values([]KeptFile{})); err != nil {
		t.Fatal(err)
	}
	are()
}

// A loss that a beacon below told of is closed by the same bytes, whichever of both
// is indexed first, and only by those that came after it.
func TestReportedLossesAreClosedByTheirBytes(t *testing.T) {
	for name, later := range map[string]bool{"the report first": false, "the report last": true} {
		t.Run(name, func(t *testing.T) {
			j := newJournal()
			report := j.put(ledger.Kind, "edge-1 at 20261122T080000 (losses).ndjson", uploads.Device{Name: "edge-1"})
			lost := func(e Event, at time.Time) ledger.Loss {
				u := e.Upload
				return ledger.Loss{Version: 1, Event: ledger.EventLoss, Beacon: "edge-1", Seq: e.Seq, Receipt: uploads.ReceiptID(u.Kind, u.Name, u.Digest),
					Kind: u.Kind, Name: u.Name.String(), Device: "PC1", Domain: "EXAMPLE", SHA256: &u.Digest, At: at, Received: at.Add(-time.Hour), Reason: spool.LossQuota}
			}
			before := j.put("Logs", "before.log", pc1)
			after := j.put("Logs", "after.log", pc1)
			never := before
			never.Upload.Name, never.Seq = mustName("never.log"), 99
			told := keptFile(report.Upload, lost(before, before.Upload.Received.Add(time.Second)), lost(after, after.Upload.Received.Add(-time.Second)), lost(never, j.at))
			c := fresh(t, Options{})
			if later {
				catchUp(t, c, j)
			}
			if err := c.ReplaceKept(t.Context(), slices.Values([]KeptFile{told, told})); err != nil {
				t.Fatal(err)
			}
			catchUp(t, c, j)
			losses, err := c.Losses(t.Context(), LossFilter{Device: "example/pc1", Beacon: "edge-1"})
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]uint64{}
			for _, l := range losses {
				got[l.Name] = l.Resent
				if l.AgeSeconds != 3600 || l.Beacon != "edge-1" {
					t.Errorf("%+v", l)
				}
			}
			if len(losses) != 3 || got["before.log"] != 0 || got["after.log"] != after.Seq || got["never.log"] != 0 {
				t.Errorf("%v", got)
			}
			if err := c.Reindex(t.Context(), j); err != nil {
				t.Fatal(err)
			}
			if again, err := c.Losses(t.Context(), LossFilter{Device: "example/pc1", Beacon: "edge-1"}); err != nil || !slices.Equal(again, losses) {
				t.Errorf("after a reindex: %+v, %v", again, err)
			}
			if err := c.ChangeKept(t.Context(), nil, []string{told.ID}); err != nil {
				t.Fatal(err)
			}
			if left, err := c.Losses(t.Context(), LossFilter{}); err != nil || len(left) != 0 {
				t.Errorf("after their report left: %+v, %v", left, err)
			}
		})
	}
}

// Whoever reports is no device.
func TestReportOfABeaconMakesNoDevice(t *testing.T) {
	j := newJournal()
	j.put(ledger.Kind, "edge-1 at 20261122T080000 (losses).ndjson", uploads.Device{Name: "edge-1"})
	j.put(ledger.Kind, "pc7 at 20261122T080000 (losses).ndjson", uploads.Device{Name: "pc7"}, func(u *uploads.Upload) { u.AgentID = "a7" })
	c := filled(t, j)
	found, err := c.Devices(t.Context(), DeviceFilter{})
	if err != nil || len(found) != 1 || found[0].Name != "pc7" {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestLossesListBy(t *testing.T) {
	j := newJournal()
	a, b := j.put("Inventories", "a.ndi", pc1), j.put("Logs", "b.log", pc2)
	j.lose(a, spool.LossRefused)
	j.lose(b, spool.LossDamaged)
	c := filled(t, j)
	report := keptFile(j.put(ledger.Kind, "edge-1 at 20261122T080000 (losses).ndjson", uploads.Device{}).Upload,
		ledger.Loss{Beacon: "edge-1", Kind: "Logs", Name: "c.log", Reason: spool.LossQuota, At: j.at.Add(time.Hour)})
	if err := c.ChangeKept(t.Context(), []KeptFile{report}, nil); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		f    LossFilter
		want []string
	}{
		"all, newest first": {LossFilter{}, []string{"c.log", "b.log", "a.ndi"}},
		"kind":              {LossFilter{Kind: "logs"}, []string{"c.log", "b.log"}},
		"reason":            {LossFilter{Reason: spool.LossRefused}, []string{"a.ndi"}},
		"here":              {LossFilter{Here: true}, []string{"b.log", "a.ndi"}},
		"beacon":            {LossFilter{Beacon: "edge-1"}, []string{"c.log"}},
		"device":            {LossFilter{Device: "pc2"}, []string{"b.log"}},
		"since":             {LossFilter{Since: j.at.Add(time.Minute)}, []string{"c.log"}},
		"limit":             {LossFilter{Limit: 1}, []string{"c.log"}},
		"none":              {LossFilter{Kind: "UsageData"}, nil},
	} {
		found, err := c.Losses(t.Context(), tt.f)
		var got []string
		for _, l := range found {
			got = append(got, l.Name)
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if n, err := c.OpenLosses(t.Context()); n != 2 || err != nil {
		t.Errorf("%d open, %v", n, err)
	}
}
