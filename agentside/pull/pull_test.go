package pull

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"inventorybeacon/failover"
	"inventorybeacon/policy/wire"
	"inventorybeacon/schedule"
	"inventorybeacon/uploads"
)

func fetchFrom(t *testing.T, c *Client, at failover.Location, held *Policy) (*Policy, error) {
	t.Helper()
	return c.Fetch(t.Context(), at, held, func() {})
}

func mustFetch(t *testing.T, c *Client, at failover.Location, held *Policy) *Policy {
	t.Helper()
	p, err := fetchFrom(t, c, at, held)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFetchTakesWholeTree(t *testing.T) {
	tr := &tree{}
	tr.set(files(t, revision(7), whole(t)))
	p := mustFetch(t, client(t), serve(t, tr), nil)
	if p.Revision.Number != 7 || p.Revision.Publisher != "centre" || len(p.Documents) != 7 {
		t.Errorf("%+v", p)
	}
	if len(p.Events) != 1 || p.Events[0].Run != "policy" || p.Stamp == "" {
		t.Errorf("events %+v, stamp %q", p.Events, p.Stamp)
	}
	if p.Settings["Tracker"]["IncludeDirectory"] != "/opt" {
		t.Errorf("settings %v", p.Settings)
	}
	if p.Failover == nil || p.Failover.Selector != "MgsRandom" || len(p.Failover.Locations) != 1 || p.Failover.Locations[0].Name != "b1" {
		t.Errorf("failover %+v", p.Failover)
	}
	if p.Digest != uploads.DigestOf(tr.files[policyPath]) {
		t.Errorf("digest %v", p.Digest)
	}
}

func TestFetchTellsWhoAsks(t *testing.T) {
	var query string
	tr := &tree{answer: func(w http.ResponseWriter, r *http.Request) bool {
		if query == "" {
			query = r.URL.RawQuery
		}
		return false
	}}
	tr.set(files(t, revision(1), whole(t)))
	mustFetch(t, client(t), serve(t, tr), nil)
	if query != "agent=1&arch=amd64&os=linux" {
		t.Errorf("query %q", query)
	}
}

func TestFetchWithNothingNewIsOneRequest(t *testing.T) {
	tr := &tree{}
	tr.set(files(t, revision(7), whole(t)))
	c, at := client(t), serve(t, tr)
	p := mustFetch(t, c, at, nil)
	if n := len(tr.requests()); n != 7 {
		t.Errorf("first fetch: %d requests", n)
	}
	if again := mustFetch(t, c, at, p); again != p {
		t.Error("nothing new is not what is held")
	}
	if got := tr.requests(); len(got) != 1 || got[0] != policyPath {
		t.Errorf("second fetch asked for %q", got)
	}
}

func TestFetchAsksOnlyForWhatChanged(t *testing.T) {
	tr := &tree{}
	bodies := whole(t)
	tr.set(files(t, revision(7), bodies))
	c, at := client(t), serve(t, tr)
	p := mustFetch(t, c, at, nil)
	tr.requests()
	bodies["Schedules/Default Machine Schedule.nds"] = poll(t, "Another poll")
	tr.set(files(t, revision(8), bodies))
	if p = mustFetch(t, c, at, p); p.Revision.Number != 8 || p.Events[0].Name != "Another poll" {
		t.Errorf("%+v", p)
	}
	if got := tr.requests(); len(got) != 3 {
		t.Errorf("asked for %q", got)
	}
}

func TestFetchRefusesWhatDoesNotFit(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(files map[string][]byte)
		want  error
	}{
		{"nothing spoilt", func(map[string][]byte) {}, nil},
		{"another body", func(f map[string][]byte) {
			f["ClientSettings/Tracker/Tracker.nds"] = bytes.Replace(f["ClientSettings/Tracker/Tracker.nds"], []byte("/opt"), []byte("/srv"), 1)
		}, ErrRefused},
		{"another catalogue", func(f map[string][]byte) {
			f["ClientSettings/Tracker/Tracker.osd"] = append(f["ClientSettings/Tracker/Tracker.osd"], '\n')
		}, ErrRefused},
		{"no body", func(f map[string][]byte) { delete(f, "Schedules/Default Machine Schedule.nds") }, ErrRefused},
		{"a page in place of the policy", func(f map[string][]byte) { f[policyPath] = []byte("<html><body>Welcome to our hotel</body></html>") }, ErrRefused},
		{"half a policy", func(f map[string][]byte) { f[policyPath] = f[policyPath][:len(f[policyPath])/2] }, ErrRefused},
		{"a package elsewhere", func(f map[string][]byte) {
			f[policyPath] = bytes.Replace(f[policyPath], []byte(wire.DownloadRoot+"Schedules/"), []byte("http://evil.test/Schedules/"), 1)
		}, ErrRefused},
		{"too much", func(f map[string][]byte) { f[policyPath] = make([]byte, maxPolicyBytes+1) }, ErrRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := &tree{}
			f := files(t, revision(7), whole(t))
			tt.spoil(f)
			tr.set(f)
			p, err := fetchFrom(t, client(t), serve(t, tr), nil)
			if !errors.Is(err, tt.want) || (p != nil) != (tt.want == nil) {
				t.Errorf("%v, %v, want %v", p, err, tt.want)
			}
		})
	}
}

func TestFetchRefusesCatalogueWithoutSHA256(t *testing.T) {
	f := files(t, revision(7), nil)
	body := poll(t, "p")
	osd, err := wire.Catalogue{Name: "x", Type: "x", Href: wire.Href("Schedules/x.nds"), Size: int64(len(body)), MD5: strings.Repeat("0", 32)}.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	npl, err := wire.Policy{GUID: schedule.EventID("p"), Revision: revision(7), Packages: []wire.Package{{Href: wire.Href("Schedules/x.osd")}}}.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	f["Schedules/x.osd"], f["Schedules/x.nds"], f[policyPath] = osd, body, npl
	tr := &tree{}
	tr.set(f)
	if _, err := fetchFrom(t, client(t), serve(t, tr), nil); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("%v", err)
	}
}

func TestFetchNeverGoesBackwards(t *testing.T) {
	tr := &tree{}
	c, at := client(t), serve(t, tr)
	tr.set(files(t, revision(7), whole(t)))
	held := mustFetch(t, c, at, nil)

	tr.set(files(t, revision(6), whole(t)))
	if _, err := fetchFrom(t, c, at, held); !errors.Is(err, ErrOlder) {
		t.Errorf("older revision: %v", err)
	}
	older := revision(6)
	older.Epoch = 2
	tr.set(files(t, older, whole(t)))
	if p, err := fetchFrom(t, c, at, held); err != nil || p.Revision != older {
		t.Errorf("new epoch: %+v, %v", p, err)
	}
	other := revision(9)
	other.Publisher = "rogue"
	tr.set(files(t, other, whole(t)))
	if _, err := fetchFrom(t, c, at, held); !errors.Is(err, ErrPublisher) {
		t.Errorf("another publisher: %v", err)
	}
	if p, err := fetchFrom(t, c, at, nil); err != nil || p.Revision != other {
		t.Errorf("first publisher: %+v, %v", p, err)
	}
}

func TestFetchIgnoresUpgrades(t *testing.T) {
	bodies := whole(t)
	bodies["Packages/agent/2.0/agent.nds"] = []byte("no such thing yet")
	tr := &tree{}
	tr.set(files(t, revision(7), bodies))
	p := mustFetch(t, client(t), serve(t, tr), nil)
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "Packages/agent/2.0/agent.osd") {
		t.Errorf("warnings %q", p.Warnings)
	}
	for _, path := range tr.requests() {
		if strings.HasPrefix(path, "Packages/") {
			t.Errorf("fetched %s", path)
		}
	}
}

func TestFetchTellsVerdictsFromNoise(t *testing.T) {
	status := func(code int, kind, body string, header ...string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(code)
			w.Write([]byte(body))
			return true
		}
	}
	const problem = "application/problem+json"
	retry := &uploads.RetryError{}
	for _, tt := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request) bool
		is     error
		after  float64 // seconds, if it asks to be left alone
	}{
		{"no bundle applies", status(404, problem, `{"status":404,"code":"not-found"}`), ErrNoPolicy, 0},
		{"a proxy's 404", status(404, "text/html", "not found"), nil, 0},
		{"a problem of somebody else", status(404, problem, `{"status":404,"code":"whatever"}`), nil, 0},
		{"a redirect", status(302, "text/html", "", "Location", "http://portal.test/login"), nil, 0},
		{"a busy beacon", status(503, problem, `{"status":503,"code":"busy"}`, "Retry-After", "90"), nil, 90},
		{"a load balancer that says for ever", status(503, "text/html", "", "Retry-After", "86400"), nil, MaxWait.Seconds()},
		{"a beacon that says for ever", status(429, problem, `{"status":429,"code":"busy"}`, "Retry-After", "86400"), nil, maxRetryAfter.Seconds()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := fetchFrom(t, client(t), serve(t, &tree{answer: tt.answer}), nil)
			if err == nil || errors.Is(err, ErrNoPolicy) != (tt.is == ErrNoPolicy) {
				t.Fatalf("%v, want %v", err, tt.is)
			}
			after := 0.0
			if errors.As(err, &retry) {
				after = retry.After.Seconds()
			}
			if after != tt.after {
				t.Errorf("asks for %v s, want %v", after, tt.after)
			}
		})
	}
}

func TestFetchFailsOnCutBody(t *testing.T) {
	cut := func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "Tracker.nds") {
			return false
		}
		w.Header().Set("Content-Length", "10000")
		w.Write([]byte("<Settings"))
		panic(http.ErrAbortHandler)
	}
	tr := &tree{answer: cut}
	tr.set(files(t, revision(7), whole(t)))
	c, at := client(t), serve(t, tr)
	if p, err := fetchFrom(t, c, at, nil); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("%v, %v: want a failure of the network", p, err)
	}
	tr.mu.Lock()
	tr.answer = nil
	tr.mu.Unlock()
	mustFetch(t, c, at, nil)
}

func TestWalkFallsBackToNextBeacon(t *testing.T) {
	portal := &tree{answer: func(w http.ResponseWriter, _ *http.Request) bool {
		w.Write([]byte("<html>log in here</html>"))
		return true
	}}
	good := &tree{}
	good.set(files(t, revision(7), whole(t)))
	list := []failover.Location{{Name: "gone", Download: "http://127.0.0.1:1/ManageSoftDL"}, serve(t, portal), serve(t, good)}
	c := client(t)
	failed := map[string]bool{}
	p, at, err := Walk(t.Context(), list, func(ctx context.Context, l failover.Location, answered func()) (*Policy, error) {
		return c.Fetch(ctx, l, nil, answered)
	}, func(l failover.Location, err error) { failed[l.Name] = err != nil })
	if err != nil || at != list[2] || p.Revision.Number != 7 {
		t.Fatalf("%v from %v, %v", p, at, err)
	}
	if !failed["gone"] || !failed[list[1].Name] || failed[list[2].Name] {
		t.Errorf("reported %v", failed)
	}
}

func TestWalkWithoutBeacons(t *testing.T) {
	_, _, err := Walk(t.Context(), nil, func(context.Context, failover.Location, func()) (int, error) { return 0, nil }, func(failover.Location, error) {})
	if !errors.Is(err, ErrNowhere) {
		t.Error(err)
	}
}
