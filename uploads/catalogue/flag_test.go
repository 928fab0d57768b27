package catalogue

import (
	"strings"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/quarantine"
	"inventorybeacon/uploads/spool"
)

func TestFlagShows(t *testing.T) {
	j := newJournal()
	plain := j.put("Logs", "a.log", uploads.Device{})
	flagged := j.put("Logs", "b.log", uploads.Device{})
	j.add(Event{What: spool.Flagged, Upload: flagged.Upload, Detail: "no sound gzip"})
	j.deliver(flagged, "disk", true)
	c := filled(t, j)
	found, err := c.Uploads(t.Context(), UploadFilter{Flagged: true})
	if err != nil || len(found) != 1 || found[0].Seq != flagged.Seq || found[0].Flag != "no sound gzip" || found[0].State != StateDelivered {
		t.Errorf("%+v, %v", found, err)
	}
	all, err := c.Uploads(t.Context(), UploadFilter{})
	if err != nil || len(all) != 2 || all[1].Seq != plain.Seq || all[1].Flag != "" {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestWhatLeftTheQuarantineIsLost(t *testing.T) {
	j := newJournal()
	dropped, kept := j.put("Logs", "a.log", uploads.Device{}), j.put("Logs", "b.log", uploads.Device{})
	j.lose(dropped, spool.LossRefused)
	j.lose(kept, spool.LossRefused)
	c := filled(t, j)
	receipt := func(e Event) string {
		return uploads.ReceiptID(e.Upload.Kind, e.Upload.Name, e.Upload.Digest)
	}
	left := []quarantine.Entry{
		{ID: receipt(dropped), Left: &quarantine.Departure{How: quarantine.LeftOperator, At: time.Now(), By: "bob"}},
		{ID: receipt(kept)},
	}
	for range 2 {
		if err := c.Dropped(t.Context(), left); err != nil {
			t.Fatal(err)
		}
	}
	for e, want := range map[string]State{receipt(dropped): StateLost, receipt(kept): StateQuarantined} {
		u, err := c.Upload(t.Context(), e)
		if err != nil || u.State != want || strings.Count(u.Detail, "dropped from quarantine by bob") != map[State]int{StateLost: 1}[want] {
			t.Errorf("%+v, %v; want it %s", u, err, want)
		}
	}
}
