package catalogue_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
	"inventorybeacon/uploads/spool"
)

// The catalogue beside the spool it is made for: it follows while files come and
// go, and a deleted file is filled again from what the spool still knows.
func TestCatalogueFollowsSpool(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "catalog.db")
	c, stop := catalogueAt(t, file)
	o := spool.Options{SegmentBytes: 64 << 10, Beacon: "b1", Sinks: []spool.SinkName{{Name: "disk", Required: true}, {Name: "lake"}}, Observe: c.Observe}
	s, err := spool.Open(filepath.Join(dir, "spool"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	done := stop(s)
	accept(t, s, 40)
	settle(t, s)
	if err := c.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	live := told(t, c)
	flagged, refused, learnt := 0, 0, 0
	for _, u := range live.Uploads {
		flagged, refused, learnt = flagged+min(len(u.Flag), 1), refused+len(u.Refusals), learnt+len(u.Learnt)
	}
	if flagged != 5 || refused != 5 || learnt != 5 {
		t.Errorf("%d flagged, %d refused, %d learnt", flagged, refused, learnt)
	}
	if live.Counts.Uploads[catalogue.StateDelivered] != 30 || live.Counts.Uploads[catalogue.StateLost] != 5 || live.Counts.Uploads[catalogue.StateWaiting] != 5 {
		t.Errorf("counts: %+v", live.Counts)
	}
	done()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	again, start := catalogueAt(t, file)
	defer start(s)()
	if err := again.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(live, told(t, again)); d != "" {
		t.Error(d)
	}
}

// catalogueAt opens a catalogue and returns how to run and then close it.
func catalogueAt(t *testing.T, file string) (*catalogue.Catalogue, func(catalogue.Source) (done func())) {
	t.Helper()
	c, err := catalogue.Open(t.Context(), file, catalogue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c, func(src catalogue.Source) func() {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx, src) }()
		return func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func accept(t *testing.T, s *spool.Spool, n int) {
	t.Helper()
	for i := range n {
		name, err := uploads.ParseName(fmt.Sprintf("pc%d at 20261122T0800%02d.log", i%4, i))
		if err != nil {
			t.Fatal(err)
		}
		body := strings.Repeat("x", 100*i)
		_, err = s.Accept(t.Context(), spool.Draft{Kind: "Logs", Name: name, Device: uploads.Device{Domain: "D", Name: fmt.Sprint("pc", i%4)},
			Peer: "192.0.2.7", Length: int64(len(body))}, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
	}
}

// settle delivers six in eight, loses one and leaves one. Of those that are
// delivered one was flagged, one was refused elsewhere, and one got further later.
func settle(t *testing.T, s *spool.Spool) {
	t.Helper()
	for i, u := range s.Pending("disk", 0, 1000) {
		var err error
		switch i % 8 {
		case 6:
			err = s.Lose(u.Seq, spool.LossOperator, "by hand")
		case 7:
		default:
			err = news(s, u, i%8)
			if err != nil {
				break
			}
			err = s.Deliver("disk", []spool.Mark{{Seq: u.Seq, Custody: []uploads.Custody{{Level: uploads.LevelParent, Beacon: "d", At: u.Received}}}})
			if err == nil && i%8 == 2 {
				err = s.Learn(u.Kind, u.Name, u.Digest, []uploads.Custody{{Level: uploads.LevelStore, Beacon: "d", At: u.Received}})
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func news(s *spool.Spool, u uploads.Upload, i int) error {
	switch i {
	case 0:
		return s.Flag(u.Seq, "no sound XML")
	case 1:
		return s.Refuse("lake", u.Seq, "too large")
	}
	return nil
}

type everything struct {
	Uploads []catalogue.Upload
	Losses  []catalogue.Loss
	Devices []catalogue.Device
	Counts  catalogue.Counts
}

func told(t *testing.T, c *catalogue.Catalogue) (e everything) {
	t.Helper()
	var errs [4]error
	e.Uploads, errs[0] = c.Uploads(t.Context(), catalogue.UploadFilter{Limit: catalogue.MaxLimit})
	e.Losses, errs[1] = c.Losses(t.Context(), catalogue.LossFilter{})
	e.Devices, errs[2] = c.Devices(t.Context(), catalogue.DeviceFilter{})
	e.Counts, errs[3] = c.Counts(t.Context())
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	e.Counts.Since = e.Counts.Since.Truncate(1 << 62) // of this file
	return e
}
