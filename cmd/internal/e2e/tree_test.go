package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"inventorybeacon/beacon/desk"
	"inventorybeacon/uploads"
)

// A front is an address that is known before the server behind it, and that can
// be made to lead nowhere.
type front struct {
	net.Listener
	mu   sync.Mutex
	to   string // host:port; empty for nowhere
	open map[net.Conn]bool
}

func newFront(t *testing.T) *front {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{Listener: l, open: map[net.Conn]bool{}}
	t.Cleanup(func() { l.Close(); f.lead("") })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f.carry(c)
		}
	}()
	return f
}

func (f *front) carry(c net.Conn) {
	defer c.Close()
	f.mu.Lock()
	to := f.to
	f.mu.Unlock()
	if to == "" {
		return
	}
	s, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer s.Close()
	f.mu.Lock()
	f.open[c] = true
	f.mu.Unlock()
	go func() { io.Copy(s, c); s.Close() }()
	io.Copy(c, s)
	f.mu.Lock()
	delete(f.open, c)
	f.mu.Unlock()
}

// lead changes where the address leads, for connections that are open, too.
func (f *front) lead(address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.to = strings.TrimPrefix(address, "http://")
	for c := range f.open {
		c.Close()
	}
}

func (f *front) root() string { return "http://" + f.Addr().String() + "/ManageSoftRL" }

// treeBeacon starts a beacon from the text of its configuration.
func treeBeacon(t *testing.T, name, relay string) *server {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "beacon.yaml")
	text := fmt.Sprintf("name: %s\nlisteners:\n  - {address: \"127.0.0.1:0\", access: anonymous}\nrelay:\n%s", name, relay)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, filepath.Join(dir, "data"), "--config", file)
}

// namesIn are the names below the Incoming folder of a beacon's directory.
func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "Incoming"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, d.Name())
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func statusOf(t *testing.T, s *server) (st desk.Status) {
	t.Helper()
	out, said, err := command(t.Context(), "beacon", "status", "--json", "--data", s.Data)
	if err != nil {
		t.Fatalf("status: %v: %s", err, said)
	}
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		t.Fatal(err)
	}
	return st
}

// An agent's inventory goes up a tree of three beacons into a directory: one
// file, one receipt all the way, and each beacon knows the way it came.
func TestTreeOfThreeBeacons(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	centre := treeBeacon(t, "centre", fmt.Sprintf("  - name: importer\n    directory: {path: %q}\n", store))
	hub := treeBeacon(t, "hub", fmt.Sprintf("  - name: up\n    beacon: {url: \"%s/ManageSoftRL\"}\n", centre.Agents))
	leaf := treeBeacon(t, "leaf", fmt.Sprintf("  - name: up\n    beacon: {url: \"%s/ManageSoftRL\"}\n", hub.Agents))

	out, said, err := command(t.Context(), "beacon-agent", "once", "--beacon", leaf.Agents, "--data", t.TempDir(), "--name", "ws1", "--domain", "EXAMPLE")
	if err != nil {
		t.Fatalf("agent: %v: %s%s", err, out, said)
	}
	inventory := func() (found []string) {
		for _, name := range namesIn(t, store) {
			if strings.HasPrefix(name, "ws1 at ") && strings.HasSuffix(name, ".ndi.gz") {
				found = append(found, name)
			}
		}
		return found
	}
	eventually(t, time.Minute, "the inventory is in the centre's directory", func() bool { return len(inventory()) == 1 })

	log := putFile(t, leaf, "Logs", "ws1 at 20260310T172738.log", "hello")
	eventually(t, 30*time.Second, "the log is in the centre's directory", func() bool { return slices.Contains(namesIn(t, store), "ws1 at 20260310T172738.log") })
	above := shown(t, centre, log.ID)
	if !slices.Equal(above.Via, []string{"leaf", "hub"}) || above.Beacon != "centre" || above.Device != "ws1" {
		t.Errorf("at the centre: %+v", above)
	}
	if u := shown(t, hub, log.ID); !slices.Equal(u.Via, []string{"leaf"}) {
		t.Errorf("at the hub: %+v", u)
	}
	// Once more, as a sender does that did not hear the answer.
	if again := putFile(t, leaf, "Logs", "ws1 at 20260310T172738.log", "hello"); !again.Duplicate || again.ID != log.ID {
		t.Errorf("the repeat: %+v", again)
	}
	eventually(t, 30*time.Second, "nothing waits anywhere", func() bool {
		return statusOf(t, leaf).Spool.Files+statusOf(t, hub).Spool.Files+statusOf(t, centre).Spool.Files == 0
	})
	if n := len(inventory()); n != 1 {
		t.Errorf("%d inventories in the store", n)
	}
}

// Three beacons in a circle, each with a directory of its own: every file reaches
// every directory once, the beacon that would send it round again sets it aside
// and says so, and no relay stops.
func TestLoopOfThreeBeaconsStopsNobody(t *testing.T) {
	t.Parallel()
	names := []string{"a", "b", "c"}
	var fronts []*front
	for range names {
		fronts = append(fronts, newFront(t))
	}
	var beacons []*server
	var stores []string
	for i, name := range names {
		stores = append(stores, t.TempDir())
		beacons = append(beacons, treeBeacon(t, name, fmt.Sprintf(
			"  - name: importer\n    directory: {path: %q}\n  - name: next\n    beacon: {url: %q}\n", stores[i], fronts[(i+1)%3].root())))
		fronts[i].lead(beacons[i].Agents)
	}
	var sent []string
	for i, b := range beacons {
		for n := range 3 {
			name := fmt.Sprintf("ws%d at 2026031%dT172738.log", i, n)
			putFile(t, b, "Logs", name, name)
			sent = append(sent, name)
		}
	}
	slices.Sort(sent)
	for i, store := range stores {
		eventually(t, time.Minute, "every file is in the directory of "+names[i], func() bool { return slices.Equal(namesIn(t, store), sent) })
	}
	for i, b := range beacons {
		var st desk.Status
		eventually(t, 30*time.Second, names[i]+" set aside what came round", func() bool {
			st = statusOf(t, b)
			return st.Sinks[1].SetAside == 3 && st.Sinks[1].InFlight == 0
		})
		if st.Sinks[0].Stopped || st.Sinks[1].Stopped || st.Spool.Files != 3 {
			t.Errorf("%s: %+v", names[i], st.Sinks)
		}
		if !slices.ContainsFunc(st.Problems, func(p string) bool { return strings.Contains(p, "508 loop") && strings.Contains(p, "requeue") }) {
			t.Errorf("%s: problems %q", names[i], st.Problems)
		}
	}
	// A person offers them again, in vain as long as there is a circle.
	out, said, err := command(t.Context(), "beacon", "uploads", "requeue", "--all", "--sink", "next", "--data", beacons[0].Data)
	if err != nil || out != "3 files offered again\n" {
		t.Errorf("requeue: %q, %v: %s", out, err, said)
	}
	eventually(t, 30*time.Second, "they are set aside again", func() bool { return statusOf(t, beacons[0]).Sinks[1].SetAside == 3 })
}

// A destination with two beacons: when the preferred one is away the other takes
// the files, and status says so; when it is back, files go there again.
func TestDestinationFailsOverAndBack(t *testing.T) {
	t.Parallel()
	first, second := newFront(t), newFront(t)
	near := treeBeacon(t, "near", fmt.Sprintf("  - name: importer\n    directory: {path: %q}\n", t.TempDir()))
	far := treeBeacon(t, "far", fmt.Sprintf("  - name: importer\n    directory: {path: %q}\n", t.TempDir()))
	first.lead(near.Agents)
	second.lead(far.Agents)
	leaf := treeBeacon(t, "leaf", fmt.Sprintf(
		"  - name: up\n    beacon:\n      beacons:\n        - {name: near, url: %q, priority: 1}\n        - {name: far, url: %q, priority: 2}\n", first.root(), second.root()))

	goes := func(n int, to *server) {
		t.Helper()
		r := putFile(t, leaf, "Logs", fmt.Sprintf("ws1 at 2026031%dT172738.log", n), fmt.Sprint(n))
		eventually(t, 30*time.Second, "the file has arrived where it should", func() bool {
			out, _, err := command(t.Context(), "beacon", "uploads", "show", r.ID, "--data", to.Data)
			return err == nil && strings.Contains(out, r.ID)
		})
	}
	goes(1, near)
	first.lead("")
	goes(2, far)
	if st := statusOf(t, leaf).Sinks[0]; len(st.Beacons) != 2 || st.Beacons[0].Name != "far" || !st.Beacons[0].InUse || st.Beacons[1].Failures == 0 {
		t.Errorf("while the preferred one is away: %+v", st.Beacons)
	}
	if !full() {
		return // the way back takes two proofs, ten seconds apart
	}
	first.lead(near.Agents)
	eventually(t, time.Minute, "the preferred one is well again", func() bool { return statusOf(t, leaf).Sinks[0].Beacons[0].Name == "near" })
	goes(3, near)
}

// An incumbent's server gets files as it knows them, and whoever asks is told that
// nothing proves that it kept them.
func TestRelayToIncumbent(t *testing.T) {
	t.Parallel()
	got := make(chan *http.Request, 10)
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(b)))
		got <- r
		w.WriteHeader(http.StatusCreated)
	}))
	defer old.Close()
	leaf := treeBeacon(t, "leaf", fmt.Sprintf(
		"  - name: old\n    beacon: {url: \"%s/ManageSoftRL\", dialect: classic, user: u, password: p, password_over_http: true}\n", old.URL))
	r := putFile(t, leaf, "Logs", "ws1 at 20260310T172738.log", "hello")
	req := <-got
	body, _ := io.ReadAll(req.Body)
	if user, password, _ := req.BasicAuth(); req.Method != http.MethodPut || req.URL.Path != "/ManageSoftRL/Logs/ws1 at 20260310T172738.log" || string(body) != "hello" || user != "u" || password != "p" {
		t.Errorf("%s %s as %q: %q", req.Method, req.URL, user, body)
	}
	for name := range req.Header {
		if strings.HasPrefix(name, "Beacon-") {
			t.Errorf("header %s", name)
		}
	}
	eventually(t, 30*time.Second, "it counts as delivered", func() bool { return shown(t, leaf, r.ID).State == "delivered" })
	u := shown(t, leaf, r.ID)
	if len(u.Deliveries) != 1 || len(u.Deliveries[0].Custody) != 1 || u.Deliveries[0].Custody[0].Level != uploads.LevelUnproven {
		t.Errorf("%+v", u)
	}
}
