package parent_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent"
	"inventorybeacon/uploads/parent/problem"
	"inventorybeacon/uploads/uploadstest"
)

// An incumbent is a server that knows nothing of ours: it takes a PUT under any
// name, replaces what is there, and says no more than that it did.
type incumbent struct {
	*httptest.Server
	status int // of success

	mu    sync.Mutex
	files map[string][]byte // by path
	seen  []*http.Request
	down  bool
}

func newIncumbent(t *testing.T, status int) *incumbent {
	t.Helper()
	i := &incumbent{status: status, files: map[string][]byte{}}
	i.Server = httptest.NewServer(i)
	t.Cleanup(i.Close)
	return i
}

func (i *incumbent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.seen = append(i.seen, r)
	switch {
	case i.down:
		w.WriteHeader(http.StatusInternalServerError)
	case r.Method != http.MethodPut:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case err == nil:
		i.files[strings.ToLower(r.URL.Path)] = b
		w.WriteHeader(i.status)
	}
}

func (i *incumbent) holdings(*testing.T) (out []uploadstest.Holding) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for path, b := range i.files {
		kind := strings.Split(path, "/")[2]
		known, _ := uploads.DefaultKinds().ByFolder(kind)
		out = append(out, uploadstest.Holding{Kind: known.Folder, Digest: uploads.DigestOf(b)})
	}
	return out
}

func (i *incumbent) set(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

func classicSink(t *testing.T, proofs, root string) *parent.Sink {
	t.Helper()
	proven, err := parent.OpenProven(proofs)
	if err != nil {
		t.Fatal(err)
	}
	s := newSink(t, root)
	s.Classic = &parent.Classic{User: "beacon", Password: "secret", Proven: proven}
	return s
}

func TestClassicConforms(t *testing.T) {
	uploadstest.TestSink(t, func(t *testing.T) *uploadstest.Destination {
		srv := newIncumbent(t, http.StatusCreated)
		proxy := uploadstest.NewProxy(t, "tcp", srv.Listener.Addr().String())
		dir := t.TempDir()
		return &uploadstest.Destination{
			Proxy: proxy, Level: uploads.LevelUnproven, Held: srv.holdings, Trusting: true,
			Open: func(t *testing.T) uploads.Sink {
				return classicSink(t, filepath.Join(dir, "proven.json"), "http://"+proxy.Addr)
			},
			Break: func(*testing.T) func() {
				srv.set(true)
				return func() { srv.set(false) }
			},
		}
	})
}

// What an incumbent gets holds nothing that it cannot know.
func TestClassicSpeaksPlainly(t *testing.T) {
	for _, status := range []int{200, 201, 204} {
		srv := newIncumbent(t, status)
		u := uploadstest.Upload(t, "Inventories", "PC1 at 20261122T093000 (Full).ndi.gz", uploadstest.Noise(2<<20, 1))
		u.Via = []string{"b7"}
		s := classicSink(t, filepath.Join(t.TempDir(), "proven.json"), srv.URL)
		d := one(t, s, uploadstest.Wrong(u, uploadstest.Noise(2<<20, 1)))
		if d.Err != nil || len(d.Custody) != 1 || d.Custody[0].Level != "unproven" || d.Custody[0].Beacon != "b0" {
			t.Fatalf("%d: %+v", status, d)
		}
		r := srv.seen[0]
		if r.RequestURI != "/ManageSoftRL/Inventories/PC1%20at%2020261122T093000%20%28Full%29.ndi.gz" && r.URL.Path != "/ManageSoftRL/Inventories/PC1 at 20261122T093000 (Full).ndi.gz" {
			t.Errorf("path %q", r.RequestURI)
		}
		var names []string
		for name := range r.Header {
			names = append(names, name)
		}
		slices.Sort(names)
		if want := []string{"Accept-Encoding", "Authorization", "Content-Length", "Content-Type", "User-Agent"}; !slices.Equal(slices.DeleteFunc(names, func(n string) bool { return n == "Accept-Encoding" }), want[1:]) {
			t.Errorf("headers %v, want %v", names, want)
		}
		if user, password, ok := r.BasicAuth(); !ok || user != "beacon" || password != "secret" {
			t.Errorf("credentials %q %q", user, password)
		}
		if r.ContentLength != 2<<20 || len(r.TransferEncoding) > 0 {
			t.Errorf("length %d, %v", r.ContentLength, r.TransferEncoding)
		}
	}
}

// No answer of such a server is a verdict on a file, and each says what it may mean.
func TestClassicRetriesWhateverIsRefused(t *testing.T) {
	for status, hint := range map[int]string{
		301: "redirect", 400: "", 401: "password", 403: "password", 404: "root", 405: "WebDAV", 409: "authentication", 411: "", 413: "maxDownloadMessageSizekB", 415: "", 500: "", 202: "", 207: "",
	} {
		srv := newIncumbent(t, status)
		err := one(t, classicSink(t, filepath.Join(t.TempDir(), "proven.json"), srv.URL), sample(t)).Err
		if err == nil || errors.Is(err, uploads.ErrRefused) || errors.Is(err, uploads.ErrDigest) || !strings.Contains(err.Error(), fmt.Sprint(status)) || !strings.Contains(err.Error(), hint) {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// A beacon of ours in the place of an incumbent's server is found out, by a
// receipt or by a refusal, and never taken for one again: not by another process
// either, and not when a portal says yes in its place.
func TestClassicRemembersWhoIsOurs(t *testing.T) {
	portal := func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusCreated)
		return true
	}
	for name, meet := range map[string]func(*server){
		"receipt": func(*server) {},
		"refusal": func(s *server) {
			s.refuseWith(func(w http.ResponseWriter, _ *http.Request) bool {
				answer(w, problem.Busy, 503)
				return true
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv, proofs := newServer(t), filepath.Join(t.TempDir(), "proven.json")
			meet(srv)
			first := one(t, classicSink(t, proofs, srv.URL), sample(t))
			if name == "receipt" && (first.Err != nil || first.Custody[0].Level != uploads.LevelParent) {
				t.Fatalf("%+v", first)
			}
			srv.refuseWith(portal)
			s := classicSink(t, proofs, srv.URL)
			if d := one(t, s, sample(t)); d.Err == nil {
				t.Error("a yes without a receipt counts, although the server is known to be ours")
			}
			srv.refuseWith(nil)
			if d := one(t, s, sample(t)); d.Err != nil || srv.header().Get("Beacon-Via") != "child" || srv.header().Get("Authorization") != "" {
				t.Errorf("%+v, headers %v", d, srv.header())
			}
		})
	}
}

// If it cannot be kept in mind, nothing counts.
func TestClassicNeedsItsMemory(t *testing.T) {
	srv, dir := newServer(t), filepath.Join(t.TempDir(), "gone")
	s := classicSink(t, filepath.Join(dir, "proven.json"), srv.URL)
	if d := one(t, s, sample(t)); d.Err == nil {
		t.Error("delivered although the proof could not be kept")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if d := one(t, s, sample(t)); d.Err != nil {
		t.Error(d.Err)
	}
}

func TestProvenRefusesNewerFiles(t *testing.T) {
	name := filepath.Join(t.TempDir(), "proven.json")
	for text, ok := range map[string]bool{
		`{"version":1,"beacons":{"http://b1/ManageSoftRL":"2026-11-22T09:30:00Z"}}`: true,
		`{"version":2}`: false, `not JSON`: false,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := parent.OpenProven(name)
		if (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
		if ok && (!p.Has("http://b1/ManageSoftRL") || p.Has("http://b2/ManageSoftRL")) {
			t.Errorf("%s: read as %+v", text, p)
		}
	}
}
