package objectstore_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/objectstore"
	"inventorybeacon/uploads/uploadstest"
)

const reports = "BeaconStatus"

var readDay = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

func (s *store) reader(t *testing.T) *objectstore.Reader {
	t.Helper()
	r, err := objectstore.OpenReader(s.options())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// plant puts an object as somebody else may.
func (s *store) plant(t *testing.T, key, body string, meta map[string]string) {
	t.Helper()
	if _, err := s.client.PutObject(t.Context(), bucket, key, strings.NewReader(body), int64(len(body)), minio.PutObjectOptions{UserMetadata: meta}); err != nil {
		t.Fatal(err)
	}
}

func listed(t *testing.T, r *objectstore.Reader) (all []objectstore.Object) {
	t.Helper()
	for after, more := "", true; more; more = after != "" {
		found, next, err := r.List(t.Context(), reports, readDay, after)
		if err != nil {
			t.Fatal(err)
		}
		all, after = append(all, found...), next
	}
	return all
}

// What a sink put is read as it was, with the beacon that put it at the end of the way.
func TestReaderReadsWhatSinkPut(t *testing.T) {
	s := newStore(t)
	p := uploadstest.Parcel(t, reports, "Außenstelle 1 at 20261122T093000 (full).ndjson.gz", []byte("told"))
	p.Device, p.Via = uploads.Device{Name: "Außenstelle 1"}, []string{"Außenstelle 1", "hub"}
	other := uploadstest.Parcel(t, reports, "leaf at 20261121T093000.ndjson", []byte("of another day"))
	for _, d := range open(t, s.options()).Deliver(t.Context(), []uploads.Parcel{p, other}) {
		if d.Err != nil {
			t.Fatal(d.Err)
		}
	}
	s.plant(t, "fleet/BeaconStatus/date=2026-11-22/note.txt", "by hand", nil)
	r := s.reader(t)
	all := listed(t, r)
	if len(all) != 1 || all[0].Name != p.Name || all[0].Size != 4 || time.Since(all[0].Modified).Abs() > time.Hour {
		t.Fatalf("%+v", all)
	}
	u, body, err := r.Read(t.Context(), reports, all[0])
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if b, err := io.ReadAll(body); err != nil || string(b) != "told" {
		t.Errorf("%q, %v", b, err)
	}
	if fmt.Sprint(u.Via) != "[Außenstelle 1 hub b1]" || u.Device != p.Device || u.Digest != p.Digest || u.Name != p.Name {
		t.Errorf("%+v", u)
	}
	gone := all[0]
	gone.Key += "x"
	if _, _, err := r.Read(t.Context(), reports, gone); !errors.Is(err, uploads.ErrUnknown) {
		t.Errorf("what is not there: %v", err)
	}
}

func TestReaderPagesThroughManyReports(t *testing.T) {
	s := newStore(t)
	const many = 1003
	d := uploads.DigestOf([]byte("x")).String()
	for i := range many {
		s.plant(t, fmt.Sprintf("fleet/BeaconStatus/date=2026-11-22/_unknown/_unknown/leaf at 20261122T%02d%02d%02d~%s.ndjson", i/3600, i/60%60, i%60, d[:16]), "x", nil)
	}
	all := listed(t, s.reader(t))
	for i := range all[1:] {
		if all[i].Key >= all[i+1].Key {
			t.Fatalf("%s comes before %s", all[i].Key, all[i+1].Key)
		}
	}
	if len(all) != many {
		t.Errorf("%d of %d", len(all), many)
	}
}

// An object is believed only if its key follows from its metadata, and its bytes
// are those that the metadata name.
func TestReaderRefusesWhatNoSinkPut(t *testing.T) {
	s := newStore(t)
	r := s.reader(t)
	const name = "leaf at 20261122T093000.ndjson"
	d := uploads.DigestOf([]byte("told"))
	key := func(name, folder string) string {
		return "fleet/BeaconStatus/date=2026-11-22/_unknown/" + folder + "/" + strings.Replace(name, ".", "~"+d.String()[:16]+".", 1)
	}
	good := map[string]string{"sha256": d.String(), "name": "leaf%20at%2020261122T093000.ndjson", "beacon": "leaf"}
	for what, tt := range map[string]struct {
		key, body string
		meta      map[string]string
		want      error
	}{
		"sound":             {key(name, "_unknown"), "told", good, nil},
		"other bytes":       {key(name, "_unknown"), "lies", good, uploads.ErrDigest},
		"more bytes":        {key(name, "_unknown"), "told more", good, uploads.ErrDigest},
		"none":              {key(name, "_unknown"), "", good, uploads.ErrDigest},
		"no metadata":       {key(name, "_unknown"), "told", nil, uploads.ErrRefused},
		"another's place":   {key(name, "hub"), "told", good, uploads.ErrRefused},
		"another's name":    {key("hub at 20261122T093000.ndjson", "_unknown"), "told", good, uploads.ErrRefused},
		"no escape":         {key(name, "_unknown"), "told", map[string]string{"sha256": d.String(), "name": "%zz"}, uploads.ErrRefused},
		"a way out of here": {key(name, "_unknown"), "told", map[string]string{"sha256": d.String(), "name": "..%2fx"}, uploads.ErrRefused},
	} {
		t.Run(what, func(t *testing.T) {
			if err := s.client.RemoveObject(t.Context(), bucket, tt.key, minio.RemoveObjectOptions{}); err != nil {
				t.Fatal(err) // this store would keep the metadata of what was there before
			}
			s.plant(t, tt.key, tt.body, tt.meta)
			var o objectstore.Object
			for _, o = range listed(t, r) {
				if o.Key == tt.key {
					break
				}
			}
			_, body, err := r.Read(t.Context(), reports, o)
			if err == nil {
				_, err = io.ReadAll(body)
				body.Close()
			}
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
}

// A store that does not answer, or stops in the middle, is given up.
func TestReaderDoesNotHang(t *testing.T) {
	s := newStore(t)
	r := s.reader(t)
	p := uploadstest.Parcel(t, reports, "leaf at 20261122T093000.ndjson", []byte("told"))
	if d := open(t, s.options()).Deliver(t.Context(), []uploads.Parcel{p}); d[0].Err != nil {
		t.Fatal(d[0].Err)
	}
	all := listed(t, r)
	for what, fault := range map[string]uploadstest.Fault{"is not there": {Refuse: true}, "says nothing": {Hang: true}, "cuts its answer": {CutAnswer: true}} {
		s.proxy.Set(fault)
		if _, _, err := r.List(t.Context(), reports, readDay, ""); err == nil {
			t.Errorf("a store that %s was listed", what)
		}
		if _, _, err := r.Read(t.Context(), reports, all[0]); err == nil || errors.Is(err, uploads.ErrRefused) || errors.Is(err, uploads.ErrUnknown) {
			t.Errorf("a store that %s: %v", what, err)
		}
	}
}
