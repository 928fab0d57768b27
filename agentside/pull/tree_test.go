package pull

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"inventorybeacon/agentside/transport"
	"inventorybeacon/failover"
	"inventorybeacon/policy"
	"inventorybeacon/policy/wire"
	"inventorybeacon/schedule"
	"inventorybeacon/uploads"
)

var device = uploads.Device{Domain: "EXAMPLE", Name: "ws-17"}

const policyPath = "Policies/Merged/EXAMPLE_domain/Machine/ws-17.npl"

// A tree is the download root of a beacon in a test.
type tree struct {
	mu    sync.Mutex
	files map[string][]byte
	asked []string
	// answer, if set, answers in the tree's place and reports whether it did.
	answer func(w http.ResponseWriter, r *http.Request) bool
}

func (tr *tree) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	path, ok := strings.CutPrefix(r.URL.Path, "/ManageSoftDL/")
	tr.asked = append(tr.asked, path)
	if tr.answer != nil && tr.answer(w, r) {
		return
	}
	body, found := tr.files[path]
	if !ok || !found {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"status":404,"code":"not-found","title":"no bundle applies"}`)
		return
	}
	sum := sha256.Sum256(body)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:8])+`"`)
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(body)))
}

// requests returns what was asked for since the last call.
func (tr *tree) requests() []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	out := tr.asked
	tr.asked = nil
	return out
}

func (tr *tree) set(files map[string][]byte) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.files = maps.Clone(files)
}

// serve starts a beacon over tr and returns where it is.
func serve(t *testing.T, tr *tree) failover.Location {
	t.Helper()
	srv := httptest.NewServer(tr)
	t.Cleanup(srv.Close)
	return failover.Location{Name: srv.Listener.Addr().String(), Download: srv.URL + "/ManageSoftDL"}
}

func client(t *testing.T) *Client {
	t.Helper()
	h, err := transport.New(transport.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.CloseIdleConnections)
	return &Client{HTTP: h, Device: device, OS: "linux", Arch: "amd64", Log: slog.New(slog.DiscardHandler)}
}

func revision(n uint64) policy.Revision {
	return policy.Revision{Publisher: "centre", Epoch: 1, Number: n, Created: time.Date(2026, 1, 5, 9, 30, 0, 0, time.UTC)}
}

// poll is a schedule of one event.
func poll(t *testing.T, name string) []byte {
	t.Helper()
	e := schedule.Daily(name, "policy", 0, time.Hour)
	b, err := wire.Schedule{Name: name, Created: time.Unix(1, 0), Events: []schedule.Event{e}}.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// files builds the tree of a revision whose packages have the given bodies, by
// the path of the body.
func files(t *testing.T, r policy.Revision, bodies map[string][]byte) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	p := wire.Policy{GUID: schedule.EventID("p"), Revision: r}
	for path, body := range bodies {
		out[path] = body
		osd := strings.TrimSuffix(path, ".nds") + ".osd"
		catalogue, err := wire.Catalogue{Name: "x", Type: "x", Href: wire.Href(path), Size: int64(len(body)), SHA256: uploads.DigestOf(body).String()}.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		out[osd] = catalogue
		p.Packages = append(p.Packages, wire.Package{Href: wire.Href(osd), ObjectID: schedule.EventID(osd), SHA256: uploads.DigestOf(catalogue).String()})
	}
	npl, err := p.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	out[policyPath] = npl
	return out
}

func whole(t *testing.T) map[string][]byte {
	t.Helper()
	settings, err := wire.WriteSettings(policy.Settings{"Tracker": {"IncludeDirectory": "/opt"}})
	if err != nil {
		t.Fatal(err)
	}
	list, err := wire.WriteFailover(policy.Failover{Selector: "MgsRandom", Beacons: []policy.Beacon{
		{Name: "b1", Download: "http://b1.test/ManageSoftDL", Upload: "http://b1.test/ManageSoftRL", Priority: 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"Schedules/Default Machine Schedule.nds":                         poll(t, "Update Machine Policy"),
		"ClientSettings/Tracker/Tracker.nds":                             settings,
		"ClientSettings/Default Failover Settings/Failover+Settings.nds": list,
	}
}
