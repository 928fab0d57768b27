package e2e

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"inventorybeacon/beacon/desk"
	"inventorybeacon/uploads"
)

// carried asks a beacon to import, and returns what it printed.
func carried(t *testing.T, data, file string, flags ...string) (out desk.Imported, said string, err error) {
	t.Helper()
	text, said, err := command(t.Context(), "beacon", append([]string{"uploads", "import", file, "--json", "--data", data}, flags...)...)
	if text != "" {
		if jerr := json.Unmarshal([]byte(text), &out); jerr != nil {
			t.Fatalf("%v: %s", jerr, text)
		}
	}
	return out, said, err
}

func exportTo(t *testing.T, data, file string, flags ...string) {
	t.Helper()
	if out, said, err := command(t.Context(), "beacon", append([]string{"uploads", "export", file, "--data", data}, flags...)...); err != nil {
		t.Fatalf("export: %v: %s%s", err, out, said)
	}
}

func publicKey(s *server) string { return filepath.Join(s.Data, "keys", "beacon.pub") }

// receiptAt asks a beacon for the receipt of exactly these bytes.
func receiptAt(t *testing.T, s *server, r uploads.Receipt) (out uploads.Receipt, held bool) {
	t.Helper()
	at := s.Agents + "/ManageSoftRL/" + r.Kind + "/" + url.PathEscape(r.Name) + "?sha256=" + r.SHA256.String()
	for _, method := range []string{http.MethodHead, http.MethodGet} {
		req, err := http.NewRequestWithContext(t.Context(), method, at, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := plainClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return out, false
		}
		if method == http.MethodGet {
			if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
				t.Fatal(err)
			}
		}
	}
	return out, true
}

// sameReceipt reports whether two beacons say the same of a file, but for who
// says it.
func sameReceipt(a, b uploads.Receipt) bool {
	a.Beacon, a.Custody, a.Duplicate = b.Beacon, b.Custody, b.Duplicate
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

// A site without a line: its files are carried to a beacon that runs and to one
// that does not, with one receipt everywhere. When the line comes back, the relay
// makes no second copy of them.
func TestSiteIsCarriedByHand(t *testing.T) {
	t.Parallel()
	line := newFront(t)
	stores := []string{t.TempDir(), t.TempDir()}
	site := treeBeacon(t, "site", fmt.Sprintf("  - name: up\n    beacon: {url: %q}\n", line.root()))
	centre := treeBeacon(t, "centre", fmt.Sprintf("  - name: importer\n    directory: {path: %q}\n", stores[0]))
	other := treeBeacon(t, "other", fmt.Sprintf("  - name: importer\n    directory: {path: %q}\n", stores[1]))
	if err := other.stop(); err != nil {
		t.Fatal(err)
	}
	otherConfig := filepath.Join(filepath.Dir(other.Data), "beacon.yaml")

	var sent []uploads.Receipt
	for n := range 40 {
		sent = append(sent, putFile(t, site, "Logs", fmt.Sprintf("ws%d at 20260310T172738.log", n), fmt.Sprint("log of ", n)))
	}
	large := make([]byte, 5<<20)
	rand.NewChaCha8([32]byte{1}).Read(large)
	sent = append(sent, putFile(t, site, "Logs", "ws1 at 20260310T172739.txt", string(large)))

	file := filepath.Join(t.TempDir(), "site.tar")
	exportTo(t, site.Data, file)
	if _, said, err := command(t.Context(), "beacon", "uploads", "export", file, "--data", site.Data); err == nil {
		t.Errorf("an archive was overwritten: %s", said)
	}

	got, said, err := carried(t, centre.Data, file, "--key", publicKey(site))
	if err != nil || got.New != len(sent) || got.Duplicate != 0 || got.From != "site" {
		t.Fatalf("centre: %+v, %v: %s", got, err, said)
	}
	if got, said, err := carried(t, centre.Data, file, "--key", publicKey(site)); err != nil || got.New != 0 || got.Duplicate != len(sent) {
		t.Errorf("centre, again: %+v, %v: %s", got, err, said)
	}
	got, said, err = carried(t, other.Data, file, "--key", publicKey(site), "--config", otherConfig, "--ack", filepath.Join(t.TempDir(), "ack"))
	if err != nil || got.New != len(sent) {
		t.Fatalf("other, stopped: %+v, %v: %s", got, err, said)
	}
	other = start(t, other.Data, "--config", otherConfig)
	for _, r := range sent {
		for _, at := range []*server{site, centre, other} {
			if have, held := receiptAt(t, at, r); !held || !sameReceipt(r, have) {
				t.Errorf("%s: %+v, sent %+v", at.Data, have, r)
			}
		}
	}
	for i, s := range []*server{centre, other} {
		eventually(t, 30*time.Second, "all are in the directory", func() bool { return len(namesIn(t, stores[i])) == len(sent) && statusOf(t, s).Spool.Files == 0 })
		if u := shown(t, s, sent[0].ID); !slices.Equal(u.Via, []string{"site"}) || u.Device != "ws0" {
			t.Errorf("%+v", u)
		}
	}

	line.lead(centre.Agents)
	eventually(t, time.Minute, "the relay is done", func() bool { return statusOf(t, site).Spool.Files == 0 })
	if names := namesIn(t, stores[0]); len(names) != len(sent) {
		t.Errorf("%d files of %d in the directory: %q", len(names), len(sent), names)
	}
	// What is settled by now finds the acknowledgement nothing to do.
	if got, said, err := carried(t, site.Data, file+".ack", "--key", publicKey(centre)); err != nil || got.Delivered != 0 || got.Gone != len(sent) {
		t.Errorf("late acknowledgement: %+v, %v: %s", got, err, said)
	}
}

// What a site exported leaves its spool when the acknowledgement is back, and not
// before; one destination's files only from that one.
func TestAcknowledgementSettlesWhatWasCarried(t *testing.T) {
	t.Parallel()
	site := treeBeacon(t, "site", "  - name: up\n    beacon: {url: \"http://127.0.0.1:1/ManageSoftRL\"}\n  - name: side\n    kinds: [UsageData, Logs]\n    beacon: {url: \"http://127.0.0.1:1/ManageSoftRL\"}\n")
	centre := treeBeacon(t, "centre", fmt.Sprintf("  - name: importer\n    directory: {path: %q}\n", t.TempDir()))
	log := putFile(t, site, "Logs", "ws1 at 20260310T172738.log", "log")
	xml := putFile(t, site, "ActivityStatus", "ws1 at 20260310T172738.xml", "<a/>")
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }

	exportTo(t, site.Data, path("side.tar"), "--sink", "side")
	if got, said, err := carried(t, centre.Data, path("side.tar"), "--key", publicKey(site)); err != nil || got.Files != 1 || got.New != 1 {
		t.Fatalf("%+v, %v: %s", got, err, said)
	}
	if got, said, err := carried(t, site.Data, path("side.tar.ack"), "--key", publicKey(centre)); err != nil || got.Delivered != 1 {
		t.Fatalf("%+v, %v: %s", got, err, said)
	}
	if u := shown(t, site, log.ID); u.State != "waiting" || len(u.Deliveries) != 1 || u.Deliveries[0].Sink != "side" {
		t.Errorf("after one destination has it: %+v", u)
	}

	exportTo(t, site.Data, path("all.tar"), "--kind", "activitystatus", "--device", "WS1")
	if got, said, err := carried(t, centre.Data, path("all.tar"), "--key", publicKey(site)); err != nil || got.New != 1 {
		t.Fatalf("%+v, %v: %s", got, err, said)
	}
	if u := shown(t, site, xml.ID); u.State != "waiting" {
		t.Errorf("before the acknowledgement: %+v", u)
	}
	for _, wrong := range [][]string{{}, {"--key", publicKey(site)}} {
		if _, said, err := carried(t, site.Data, path("all.tar.ack"), wrong...); err == nil {
			t.Errorf("taken with %q: %s", wrong, said)
		}
	}
	if _, said, err := carried(t, centre.Data, path("all.tar.ack"), "--any-key"); err == nil {
		t.Errorf("another beacon took it: %s", said)
	}
	if got, said, err := carried(t, site.Data, path("all.tar.ack"), "--key", publicKey(centre)); err != nil || got.Delivered != 1 || got.Gone != 0 {
		t.Fatalf("%+v, %v: %s", got, err, said)
	}
	u := shownAll(t, site, xml.ID)
	if u.State != "delivered" || len(u.Custody) != 2 || u.Custody[1].Level != uploads.LevelParent || u.Custody[1].Beacon != "centre" {
		t.Errorf("after the acknowledgement: %+v", u)
	}
	if st := statusOf(t, site); st.Spool.Files != 1 {
		t.Errorf("%d files wait, the log should", st.Spool.Files)
	}
}

// rewrite changes the members of an archive.
func rewrite(t *testing.T, from, to string, change func(name string, b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	r, w := tar.NewReader(bytes.NewReader(b)), tar.NewWriter(&out)
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		b, rerr := io.ReadAll(r)
		if err != nil || rerr != nil {
			t.Fatal(err, rerr)
		}
		b = change(h.Name, b)
		h.Size = int64(len(b))
		w.WriteHeader(h)
		w.Write(b)
	}
	w.Close()
	if err := os.WriteFile(to, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What is wrong with an archive as a whole is found before anything is stored; a
// damaged body is left out alone.
func TestWrongArchivesAreRefused(t *testing.T) {
	t.Parallel()
	site := treeBeacon(t, "site", "  - name: up\n    beacon: {url: \"http://127.0.0.1:1/ManageSoftRL\"}\n")
	centre := treeBeacon(t, "centre", fmt.Sprintf("  - name: importer\n    directory: {path: %q}\n", t.TempDir()))
	var sent []uploads.Receipt
	for n := range 3 {
		sent = append(sent, putFile(t, site, "Logs", fmt.Sprintf("ws%d at 20260310T172738.log", n), fmt.Sprint("log of ", n)))
	}
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	good := path("good.tar")
	exportTo(t, site.Data, good)
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(path("cut.tar"), whole[:len(whole)/2], 0o600)
	os.WriteFile(path("empty.tar"), nil, 0o600)
	rewrite(t, good, path("renamed.tar"), func(name string, b []byte) []byte {
		return bytes.ReplaceAll(b, []byte("ws1 at"), []byte("ws7 at"))
	})
	key := publicKey(site)
	for _, tt := range []struct {
		file  string
		flags []string
		says  string
	}{
		{"cut.tar", []string{"--key", key}, "cut off"},
		{"empty.tar", []string{"--key", key}, "neither an archive"},
		{"renamed.tar", []string{"--key", key}, "changed"},
		{"renamed.tar", []string{"--any-key"}, "changed"},
		{"good.tar", []string{"--key", publicKey(centre)}, "another key"},
		{"good.tar", nil, "--any-key"},
		{"good.tar", []string{"--key", good}, "no Ed25519 public key"},
		{"missing.tar", []string{"--any-key"}, "no such file"},
	} {
		if _, said, err := carried(t, centre.Data, path(tt.file), tt.flags...); err == nil || !strings.Contains(said, tt.says) {
			t.Errorf("%s %q: %v: %s", tt.file, tt.flags, err, said)
		}
	}
	if _, said, err := carried(t, site.Data, good, "--any-key"); err == nil || !strings.Contains(said, "this very beacon") {
		t.Errorf("its own archive: %v: %s", err, said)
	}
	if left, _ := filepath.Glob(path("*.ack")); len(left) > 0 {
		t.Errorf("acknowledged: %q", left)
	}
	for _, r := range sent {
		if _, held := receiptAt(t, centre, r); held {
			t.Errorf("%s was stored", r.Name)
		}
	}

	rewrite(t, good, path("damaged.tar"), func(name string, b []byte) []byte {
		if name == "files/000000002" {
			b[0] ^= 1
		}
		return b
	})
	got, said, err := carried(t, centre.Data, path("damaged.tar"), "--key", key)
	if err == nil || got.New != 2 || len(got.Refused) != 1 || got.Refused[0].Place != "files/000000002" || !strings.Contains(said, "files/000000002") {
		t.Errorf("%+v, %v: %s", got, err, said)
	}
	if got, said, err := carried(t, centre.Data, good, "--key", key); err != nil || got.New != 1 || got.Duplicate != 2 {
		t.Errorf("the good one after it: %+v, %v: %s", got, err, said)
	}
}
