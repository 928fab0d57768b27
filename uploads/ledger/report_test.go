package ledger

import (
	"errors"
	"strings"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
)

func TestReadGivesWhatWasWritten(t *testing.T) {
	u := upload(t, "größe at 20260301T110000.ndi.gz")
	u.Device, u.Received = uploads.Device{Domain: "D", Name: "größe"}, began.Add(-90*time.Second)
	events := []spool.Event{
		{Seq: 7, At: began, Upload: u, Reason: spool.LossAge, Detail: "held for <too> long"},
		{Seq: 9, At: began, Upload: uploads.Upload{Seq: 3}, Reason: spool.LossDamaged},
	}
	b, err := encode("edge-1", events)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read(strings.NewReader(string(b)))
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	l := got[0]
	if l.Beacon != "edge-1" || l.Seq != 7 || l.Name != u.Name.String() || l.Device != "größe" || l.AgeSeconds != 90 || !l.At.Equal(began) ||
		*l.SHA256 != u.Digest || l.Receipt != uploads.ReceiptID(u.Kind, u.Name, u.Digest) || l.Detail != "held for <too> long" {
		t.Errorf("%+v", l)
	}
	if l := got[1]; l.SHA256 != nil || l.Receipt != "" || l.Reason != spool.LossDamaged {
		t.Errorf("of a damaged one: %+v", l)
	}
}

func TestReadOfOthersLines(t *testing.T) {
	const line = `{"version":1,"event":"loss","beacon":"b","seq":1,"at":"2026-03-01T12:00:00Z","reason":"age","bytes":1}` + "\n"
	for name, tt := range map[string]struct {
		text string
		n    int
		ok   bool
	}{
		"nothing":         {"", 0, true},
		"one":             {line, 1, true},
		"another event":   {line + `{"version":1,"event":"restart"}` + "\n", 1, true},
		"a later version": {line + `{"version":2,"event":"loss"}` + "\n" + line, 2, true},
		"unknown members": {strings.Replace(line, `"seq"`, `"new":[1],"seq"`, 1), 1, true},
		"no JSON":         {line + "<xml/>\n", 0, false},
		"nobody's":        {strings.Replace(line, `"beacon":"b",`, "", 1), 0, false},
		"bad digest":      {strings.Replace(line, `"bytes"`, `"sha256":"00","bytes"`, 1), 0, false},
		"a long line":     {strings.Repeat(" ", maxLine) + line, 0, false},
		"too many":        {strings.Repeat(line, maxLines+1), 0, false},
	} {
		got, err := Read(strings.NewReader(tt.text))
		if len(got) != tt.n || (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrReport) {
			t.Errorf("%s: %d losses, %v", name, len(got), err)
		}
	}
}

func TestIsReport(t *testing.T) {
	for name, want := range map[string]bool{
		"edge-1 at 20260301T120000 (losses).ndjson":    true,
		"edge-1 at 20260301T120000 (Losses).NDJSON":    true,
		"edge-1 at 20260301T120000 (losses).ndjson.gz": false,
		"edge-1 at 20260301T120000.ndjson":             false,
		"edge-1 (losses).ndjson":                       false,
		"edge-1 at 20260301T120000 (losses).log":       false,
	} {
		n, err := uploads.ParseName(name)
		if err != nil || IsReport("events", n) != want || IsReport("Logs", n) {
			t.Errorf("%s: %v, %v", name, IsReport("events", n), err)
		}
	}
}
