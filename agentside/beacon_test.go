package agentside

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"inventorybeacon/policy"
	"inventorybeacon/policy/wire"
	"inventorybeacon/schedule"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/contact"
)

// A fakeBeacon speaks as much of the agents' protocol as the agent needs.
type fakeBeacon struct {
	*httptest.Server

	mu       sync.Mutex
	files    map[string][]byte // below the download root
	uploads  map[string][]byte // kind/name to what came
	repeats  int
	contacts []contact.Contact
	polls    int
	// before, if set, answers in the beacon's place and reports whether it did.
	before func(w http.ResponseWriter, r *http.Request) bool
}

func newBeacon(t *testing.T) *fakeBeacon {
	b := &fakeBeacon{files: map[string][]byte{}, uploads: map[string][]byte{}}
	b.Server = httptest.NewUnstartedServer(b)
	b.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	b.Start()
	t.Cleanup(b.Close)
	return b
}

func (b *fakeBeacon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	c, err := contact.Parse(r.Header.Values(contact.Header))
	if err == nil {
		b.contacts = append(b.contacts, c)
	}
	before := b.before
	b.mu.Unlock()
	if before != nil && before(w, r) {
		return
	}
	if path, ok := strings.CutPrefix(r.URL.Path, "/ManageSoftRL/"); ok && r.Method == http.MethodPut {
		b.put(w, r, path)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	path, ok := strings.CutPrefix(r.URL.Path, "/ManageSoftDL/")
	if strings.HasSuffix(path, ".npl") {
		b.polls++
	}
	body, found := b.files[path]
	if !ok || !found || r.Method != http.MethodGet {
		problem(w, 404, "not-found")
		return
	}
	sum := sha256.Sum256(body)
	w.Header().Set("ETag", strconv.Quote(hex.EncodeToString(sum[:8])))
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(body)))
}

func problem(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"status":%d,"code":%q,"detail":"as the test wants"}`, status, code)
}

func (b *fakeBeacon) put(w http.ResponseWriter, r *http.Request, path string) {
	body, err := io.ReadAll(r.Body)
	kind, file, _ := strings.Cut(path, "/")
	name, nameErr := uploads.ParseName(file)
	if err = cmp.Or(err, nameErr); err != nil {
		problem(w, 400, "bad-name")
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	old, repeat := b.uploads[path]
	if repeat = repeat && string(old) == string(body); repeat {
		b.repeats++
	}
	b.uploads[path] = body
	u := uploads.Upload{Kind: kind, Name: name, Digest: uploads.DigestOf(body), Size: int64(len(body)), Received: time.Now(), Beacon: "fake"}
	receipt := u.Receipt()
	receipt.Duplicate = repeat
	json.NewEncoder(w).Encode(receipt)
}

// got returns the paths of what came, below the upload root, of one kind.
func (b *fakeBeacon) got(kind string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for path := range b.uploads {
		if name, ok := strings.CutPrefix(path, kind+"/"); ok {
			out = append(out, name)
		}
	}
	return out
}

func (b *fakeBeacon) intercept(before func(w http.ResponseWriter, r *http.Request) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.before = before
}

// publish serves a policy with the given events, and failover list if any.
func (b *fakeBeacon) publish(t *testing.T, number uint64, list *policy.Failover, events ...schedule.Event) {
	t.Helper()
	must := func(body []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	bodies := map[string][]byte{
		"Schedules/Default Machine Schedule.nds": must(wire.Schedule{Name: "s", Created: time.Unix(int64(number), 0), Events: events}.Bytes()),
	}
	if list != nil {
		bodies["ClientSettings/Default Failover Settings/Default Failover Settings.nds"] = must(wire.WriteFailover(*list))
	}
	files := map[string][]byte{}
	p := wire.Policy{GUID: schedule.EventID("p"), Revision: policy.Revision{Publisher: "centre", Epoch: 1, Number: number, Created: time.Unix(int64(number), 0)}}
	for path, body := range bodies {
		osd := strings.TrimSuffix(path, ".nds") + ".osd"
		files[path] = body
		files[osd] = must(wire.Catalogue{Name: "x", Type: "x", Href: wire.Href(path), Size: int64(len(body)), SHA256: uploads.DigestOf(body).String()}.Bytes())
		p.Packages = append(p.Packages, wire.Package{Href: wire.Href(osd), ObjectID: schedule.EventID(osd), SHA256: uploads.DigestOf(files[osd]).String()})
	}
	files["Policies/Merged/EXAMPLE_domain/Machine/ws-17.npl"] = must(p.Bytes())
	b.mu.Lock()
	defer b.mu.Unlock()
	b.files = files
}

// daily is an event that is not due by the clock while a test runs, and with
// which other triggers it is given.
func daily(name, run string, more ...schedule.Type) schedule.Event {
	later := time.Now().Add(12 * time.Hour)
	e := schedule.Daily(name, run, schedule.Clock(time.Duration(later.Hour())*time.Hour), 0)
	for _, kind := range more {
		e.Triggers = append(e.Triggers, schedule.Trigger{Type: kind})
	}
	return e
}

func options(t *testing.T, beacons ...*fakeBeacon) Options {
	o := Options{Data: t.TempDir(), Name: "ws-17", Domain: "EXAMPLE", Version: "1.2.3"}
	for _, b := range beacons {
		o.Beacons = append(o.Beacons, b.URL)
	}
	return o
}

func openAgent(t *testing.T, o Options) *Agent {
	t.Helper()
	a, err := Open(o, "test")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func closeAgent(t *testing.T, a *Agent) {
	t.Helper()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// eventually polls until ok, since real sockets and processes have no other
// sign; it is generous, because a loaded machine is slow.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}
