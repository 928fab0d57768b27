package catalogue

import (
	"slices"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
)

func TestCatalogueListsWhatIsNotKnownToBeStored(t *testing.T) {
	j := newJournal()
	took := func(e Event, sink string, levels ...string) {
		var c []uploads.Custody
		for _, l := range levels {
			c = append(c, uploads.Custody{Level: l, Beacon: "hub"})
		}
		j.add(Event{What: spool.Delivered, Upload: e.Upload, Sink: sink, Custody: c, Left: true})
	}
	took(j.put("Logs", "a.log", pc1), "hub", uploads.LevelParent)
	took(j.put("Logs", "stored.log", pc1), "hub", uploads.LevelParent, uploads.LevelStore)
	took(j.put("Logs", "b.log", pc1), "hub", uploads.LevelParent)
	took(j.put("Logs", "elsewhere.log", pc1), "other", uploads.LevelParent)
	j.put("Logs", "waiting.log", pc1)
	c := filled(t, j)
	for _, tt := range []struct {
		since time.Time
		limit int
		want  []string
	}{
		{time.Time{}, 10, []string{"b.log", "a.log"}},
		{time.Time{}, 1, []string{"b.log"}},
		{j.events[3].At, 10, []string{"b.log"}},
	} {
		found, err := c.NotStored(t.Context(), "hub", tt.since, tt.limit)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range found {
			names = append(names, f.Name.String())
			if f.Digest != uploads.DigestOf([]byte(f.Name.String())) || f.Kind != "Logs" {
				t.Errorf("%+v", f)
			}
		}
		if !slices.Equal(names, tt.want) {
			t.Errorf("since %v, at most %d: %v, want %v", tt.since, tt.limit, names, tt.want)
		}
	}
}
