package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"inventorybeacon/beacon/desk"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
)

// keys are what reaches the bucket, as a destination of the relay and as a store
// that is read have them.
func (s *s3) keys(prefix string) string {
	return fmt.Sprintf("{endpoint: %q, region: us-east-1, bucket: %s, prefix: %q, access_key: %s, secret_key: %s}", s.endpoint, bucket, prefix, accessKey, secretKey)
}

// reports are the keys of the reports in the bucket.
func (s *s3) reports(t *testing.T, prefix string) (keys []string) {
	t.Helper()
	for o := range s.client.ListObjects(t.Context(), bucket, minio.ListObjectsOptions{Prefix: prefix + "/BeaconStatus/", Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

// tamper puts a report that names the leaf's device as evil's, in the place and with
// the metadata of a sound one.
func (s *s3) tamper(t *testing.T, key string) {
	t.Helper()
	info, err := s.client.StatObject(t.Context(), bucket, key, minio.StatObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().UTC().Format(time.RFC3339)
	body := fmt.Sprintf(`{"version":1,"beacon":"leaf","at":%q,"every_seconds":1,"state":{"trouble":"tampered"}}`+"\n"+
		`{"device":"tampered","domain":"EXAMPLE","seen":%q,"uploads":{"Inventories":%[2]q}}`+"\n", at, at)
	meta := map[string]string{}
	for k, v := range info.UserMetadata {
		meta[strings.ToLower(k)] = v
	}
	if _, err := s.client.PutObject(t.Context(), bucket, key, bytes.NewReader([]byte(body)), int64(len(body)), minio.PutObjectOptions{UserMetadata: meta}); err != nil {
		t.Fatal(err)
	}
}

// A beacon that nobody calls answers for the devices of another one, from the
// reports in a bucket, and says how old they are. A report that somebody changed is
// refused, and those beside it are read.
func TestFleetStatusOfStore(t *testing.T) {
	t.Parallel()
	const prefix = "lake"
	store := startS3(t)
	leaf := treeBeacon(t, "leaf", fmt.Sprintf("  - name: lake\n    s3: %s\nfleet: {every: 1s}\n", store.keys(prefix)))
	eventually(t, time.Minute, "a report is in the bucket", func() bool { return len(store.reports(t, prefix)) > 0 })
	store.tamper(t, store.reports(t, prefix)[0])
	putFile(t, leaf, "Logs", "ws1 at 20260310T172738.log", "hello")
	polls(t, leaf, "ws2")

	centre := treeBeacon(t, "centre", fmt.Sprintf("  - name: importer\n    directory: {path: %q}\nfleet:\n  read:\n    - {name: lake, every: 1s, s3: %s}\n", t.TempDir(), store.keys(prefix)))
	var ws1 catalogue.Device
	eventually(t, time.Minute, "the centre knows what the leaf heard", func() bool {
		for _, d := range told[[]catalogue.Device](t, centre, "agents", "list") {
			if d.Name == "tampered" {
				t.Fatalf("a report that was changed was believed: %+v", d)
			}
			if d.Name == "ws1" {
				ws1 = d
			}
		}
		return ws1.Beacon == "leaf" && !ws1.Heard.IsZero() && len(ws1.Told) == 1 && !ws1.Told[0].Uploads["Logs"].IsZero()
	})
	if by := ws1.Told[0]; by.Child != "leaf" || time.Since(by.Heard) > 5*time.Minute || time.Until(by.Heard) > time.Minute {
		t.Errorf("told by %q, as of %v", by.Child, by.Heard)
	}
	eventually(t, 30*time.Second, "the centre traces who only polls the leaf", func() bool {
		v := told[desk.Traced](t, centre, "trace", "ws2").Verdict
		return v.Code == catalogue.Elsewhere && strings.Contains(v.Text, "leaf")
	})
	if v := told[desk.Traced](t, centre, "trace", "ws1").Verdict; v.Code != catalogue.Elsewhere || !strings.Contains(v.Text, "the beacon leaf hears it") || !strings.Contains(v.Text, "Logs") {
		t.Errorf("the trace of who uploaded to the leaf: %+v", v)
	}
	late := map[string]catalogue.Late{}
	list := filepath.Join(t.TempDir(), "expected.csv")
	if err := os.WriteFile(list, []byte("name,domain\nws1\nws2,EXAMPLE\nws3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	told[desk.Expected](t, centre, "agents", "expect", list)
	for _, l := range told[[]catalogue.Late](t, centre, "agents", "list", "--late") {
		late[l.Name] = l
	}
	if late["ws1"].Cause != catalogue.CauseInventory || late["ws1"].Heard.IsZero() || late["ws2"].Cause != catalogue.CauseNoUpload || late["ws3"].Cause != catalogue.CauseNever {
		t.Errorf("late: %+v", late)
	}
	if never := told[[]catalogue.Late](t, centre, "agents", "list", "--never"); len(never) != 1 || never[0].Name != "ws3" {
		t.Errorf("never: %+v", never)
	}
	if n := metric(t, centre, `beacon_fleet_store_reports_total{result="refused",store="lake"}`); n != "1" {
		t.Errorf("%q reports were refused", n)
	}
	if held := told[[]catalogue.Upload](t, centre, "uploads", "list"); len(held) > 1 {
		t.Errorf("reading made uploads: %+v", held)
	}
}

// A bucket that cannot be read stops nothing else, and whoever looks is told.
func TestFleetStatusOfStoreThatRefuses(t *testing.T) {
	t.Parallel()
	store := startS3(t)
	keys := strings.Replace(store.keys("lake"), secretKey, "guess", 1)
	centre := treeBeacon(t, "centre", fmt.Sprintf("  - name: importer\n    directory: {path: %q}\nfleet:\n  read:\n    - {name: lake, every: 1s, s3: %s}\n", t.TempDir(), keys))
	eventually(t, time.Minute, "status tells of the store", func() bool {
		return slices.ContainsFunc(statusOf(t, centre).Problems, func(p string) bool { return strings.HasPrefix(p, "fleet status in lake could not be read") })
	})
	putFile(t, centre, "Logs", "ws1 at 20260310T172738.log", "hello")
	if n := metric(t, centre, `beacon_fleet_store_failures{store="lake"}`); n == "0" || n == "" {
		t.Errorf("%q failures", n)
	}
}

// The doctor says whether a bucket can be listed and read, and what to do.
func TestDoctorTriesStoreOfFleetStatus(t *testing.T) {
	store := startS3(t)
	u := uploads.DigestOf([]byte("x")).String()
	now := time.Now().UTC()
	stem := "leaf at " + now.Format(uploads.TimestampLayout)
	key := "lake/BeaconStatus/date=" + now.Format(time.DateOnly) + "/_unknown/_unknown/" + stem + "~" + u[:16] + ".ndjson"
	config := func(secret string) string {
		name := filepath.Join(t.TempDir(), "beacon.yaml")
		text := "fleet:\n  read:\n    - {name: lake, s3: " + strings.Replace(store.keys("lake"), secretKey, secret, 1) + "}\n"
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	states := func(config string) map[string]string {
		out, said, err := command(t.Context(), "beacon", "doctor", "--json", "--data", t.TempDir(), "--config", config)
		var d struct {
			Findings []struct{ Part, What, State, Detail string }
		}
		if jsonErr := json.Unmarshal([]byte(out), &d); jsonErr != nil {
			t.Fatalf("%v, %v: %s%s", err, jsonErr, out, said)
		}
		found := map[string]string{}
		for _, f := range d.Findings {
			if f.Part == "fleet status in lake" {
				found[f.What] = f.State
				if f.Detail == "" && f.State == "failed" {
					t.Errorf("%+v says too little", f)
				}
			}
		}
		return found
	}
	if got := states(config(secretKey)); len(got) != 1 || got["list the reports of other beacons"] != "ok" {
		t.Errorf("an empty bucket: %v", got)
	}
	if got := states(config("guess")); got["list the reports of other beacons"] != "failed" {
		t.Errorf("a wrong secret: %v", got)
	}
	for name, meta := range map[string]map[string]string{
		"ok":      {"sha256": u, "name": url.PathEscape(stem + ".ndjson"), "beacon": "leaf"},
		"without": {"sha256": u},
	} {
		if _, err := store.client.PutObject(t.Context(), bucket, key, strings.NewReader("x"), 1, minio.PutObjectOptions{UserMetadata: meta}); err != nil {
			t.Fatal(err)
		}
		if got := states(config(secretKey)); got["read one"] != name {
			t.Errorf("%v: %v", meta, got)
		}
	}
}
