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
	left := quarantine.Record{
		At:   j.at.Add(time.Second),
		Here: map[string]time.Time{receipt(kept): {}},
		Left: map[string][]quarantine.Entry{
			receipt(dropped): {{Left: &quarantine.Departure{How: quarantine.LeftOperator, At: j.at, By: "bob"}}},
		},
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

func TestStayEnds(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	left := func(came int, how string) quarantine.Entry {
		return quarantine.Entry{At: at(came), Left: &quarantine.Departure{How: how, At: at(came + 1)}}
	}
	record := func(here int, left ...quarantine.Entry) quarantine.Record {
		r := quarantine.Record{At: at(100), Here: map[string]time.Time{}, Left: map[string][]quarantine.Entry{"r": left}}
		if here > 0 {
			r.Here["r"] = at(here)
		}
		return r
	}
	for name, tt := range map[string]struct {
		since  int
		newest bool
		r      quarantine.Record
		want   string // "" if it is here
	}{
		"here":                              {10, true, record(10), ""},
		"here, and the clock was set back":  {5, true, record(10), ""},
		"sent twice while it was here":      {12, false, record(10), ""},
		"refused after the record was made": {100, true, record(0), ""},
		"left":                              {10, true, record(0, left(10, "age")), "; left the quarantine (age)"},
		"left before the one here":          {10, false, record(20, left(9, "age")), "; left the quarantine (age)"},
		"left first":                        {10, false, record(0, left(9, "age"), left(20, "quota")), "; left the quarantine (age)"},
		"left last":                         {21, true, record(0, left(9, "age"), left(20, "quota")), "; left the quarantine (quota)"},
		"left before all on record":         {5, false, record(0, left(9, "age")), "; left the quarantine; the record of it is gone"},
		"no record":                         {10, true, record(0), "; left the quarantine; the record of it is gone"},
	} {
		how, gone := stay{receipt: "r", since: at(tt.since), newest: tt.newest}.end(tt.r)
		if how != tt.want || gone != (tt.want != "") {
			t.Errorf("%s: %q, %v", name, how, gone)
		}
	}
}

// Of two uploads of the same bytes the one that was let go last is released.
func TestReleaseEndsTheLastStay(t *testing.T) {
	j := newJournal()
	for _, released := range []bool{false, false, true} {
		e := j.put("Logs", "a.log", uploads.Device{}, func(u *uploads.Upload) { u.Released = released })
		if !released {
			j.lose(e, spool.LossRefused)
		}
	}
	all, err := filled(t, j).Uploads(t.Context(), UploadFilter{})
	if err != nil || len(all) != 3 || all[0].State != StateWaiting || all[1].State != StateLost || !strings.HasSuffix(all[1].Detail, "; released from quarantine") || all[2].State != StateQuarantined {
		t.Errorf("%+v, %v", all, err)
	}
}
