package beacon_test

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"inventorybeacon/beacon/admission"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
	"inventorybeacon/uploads/parent/hop"
)

const ndi = "/ManageSoftRL/Inventories/pc1%20at%2020261122T101112.ndi.gz"

func TestUploadGetsReceipt(t *testing.T) {
	s := newSite(t)
	h := s.Handler()
	const agent = `Beacon-Agent: id="a1", domain="EXAMPLE", name="pc1", version="1.0"`
	body := zipped(`<Inventory MachineName="pc1" Scope="EXAMPLE"/>`)
	for i, dup := range []bool{false, true} {
		resp := ask(h, "PUT", ndi, body, agent)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %v", resp.StatusCode, resp.Header)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(text(t, resp)), &got); err != nil {
			t.Fatal(err)
		}
		sum := uploads.DigestOf([]byte(body))
		name, _ := uploads.ParseName("pc1 at 20261122T101112.ndi.gz")
		for k, want := range map[string]any{
			"receipt": uploads.ReceiptID("Inventories", name, sum), "kind": "Inventories", "name": name.String(),
			"device": "pc1", "domain": "EXAMPLE", "sha256": sum.String(), "bytes": float64(len(body)), "received": "2026-11-20T08:30:00Z",
			"beacon": "beacon-1", "duplicate": dup,
		} {
			if got[k] != want {
				t.Errorf("put %d: %s is %v, want %v", i, k, got[k], want)
			}
		}
		if c, ok := got["custody"].([]any); !ok || len(c) != 1 {
			t.Errorf("custody %v", got["custody"])
		}
	}
	d, _ := s.spool.last(t)
	if d.AgentID != "a1" || d.Peer != anyone.String() || d.Length != int64(len(body)) {
		t.Errorf("draft %+v", d)
	}
	seen := s.lastSeen(t)
	if seen.Act != catalogue.ActUpload || seen.Status != 200 || seen.Contact.ID != "a1" || seen.Device != (uploads.Device{Domain: "EXAMPLE", Name: "pc1"}) {
		t.Errorf("seen %+v", seen)
	}
}

func TestUploadStatuses(t *testing.T) {
	wide := sha512.Sum512([]byte("hello"))
	sha512OK := "sha-512=:" + base64.StdEncoding.EncodeToString(wide[:]) + ":"
	good, other := hop.FormatDigest(uploads.DigestOf([]byte("hello"))), hop.FormatDigest(uploads.DigestOf([]byte("other")))
	for _, tt := range []struct {
		name, method, path string
		headers            []string
		status             int
		code               string
	}{
		{"kind in any case", "PUT", "/managesoftrl/inventories/a.ndi", nil, 200, ""},
		{"root, by extension", "PUT", "/ManageSoftRL/a.ndi.gz", nil, 200, ""},
		{"root, log", "PUT", "/ManageSoftRL/a.log", nil, 200, ""},
		{"root, ambiguous", "PUT", "/ManageSoftRL/a.xml", nil, 415, "bad-kind"},
		{"root, ambiguous again", "PUT", "/ManageSoftRL/a.ndjson", nil, 415, "bad-kind"},
		{"unknown kind", "PUT", "/ManageSoftRL/Secrets/a.ndi", nil, 415, "bad-kind"},
		{"wrong extension", "PUT", "/ManageSoftRL/Inventories/a.exe", nil, 415, "bad-kind"},
		{"coded", "PUT", ndi, []string{"Content-Encoding: gzip"}, 415, "bad-kind"},
		{"partial", "PUT", ndi, []string{"Content-Range: bytes 0-4/10"}, 400, "bad-request"},
		{"digest fits", "PUT", ndi, []string{"Repr-Digest: " + good}, 200, ""},
		{"content digest fits", "PUT", ndi, []string{"Content-Digest: " + good}, 200, ""},
		{"wide digest fits", "PUT", ndi, []string{"Repr-Digest: " + sha512OK}, 200, ""},
		{"both digests fit", "PUT", ndi, []string{"Repr-Digest: " + sha512OK + ", " + good}, 200, ""},
		{"unknown digest", "PUT", ndi, []string{"Repr-Digest: md5=:AAAA:"}, 200, ""},
		{"digest differs", "PUT", ndi, []string{"Repr-Digest: " + other}, 422, "digest-mismatch"},
		{"content digest differs", "PUT", ndi, []string{"Content-Digest: " + other}, 422, "digest-mismatch"},
		{"digests differ", "PUT", ndi, []string{"Repr-Digest: " + good, "Content-Digest: " + other}, 422, "digest-mismatch"},
		{"wide digest differs", "PUT", ndi, []string{"Repr-Digest: sha-512=:" + strings.Repeat("A", 86) + "==:"}, 422, "digest-mismatch"},
		{"wide digests differ", "PUT", ndi, []string{"Repr-Digest: sha-512=:" + strings.Repeat("A", 86) + "==:", "Content-Digest: " + sha512OK}, 422, "digest-mismatch"},
		{"digest in capitals differs", "PUT", ndi, []string{"Repr-Digest: " + strings.ToUpper(other[:7]) + other[7:]}, 422, "digest-mismatch"},
		{"digest with spaces differs", "PUT", ndi, []string{"Repr-Digest: sha-256 = " + other[8:]}, 422, "digest-mismatch"},
		{"wide digest with parameters", "PUT", ndi, []string{"Repr-Digest: " + sha512OK + ";q=1"}, 200, ""},
		{"digest malformed", "PUT", ndi, []string{"Repr-Digest: sha-256=abc"}, 400, "bad-request"},
		{"wide digest malformed", "PUT", ndi, []string{"Repr-Digest: sha-512=:abc:"}, 400, "bad-request"},
		{"passed others", "PUT", ndi, []string{"Beacon-Via: b2, b3"}, 200, ""},
		{"passed us", "PUT", ndi, []string{"Beacon-Via: b2, beacon-1"}, 508, "loop"},
		{"passed eight", "PUT", ndi, []string{"Beacon-Via: a,b,c,d,e,f,g,h"}, 200, ""},
		{"passed nine", "PUT", ndi, []string{"Beacon-Via: a,b,c,d,e,f,g,h,i"}, 508, "loop"},
		{"plain GET", "GET", ndi, nil, 405, "method-not-allowed"},
		{"POST", "POST", ndi, nil, 405, "method-not-allowed"},
		{"DELETE", "DELETE", ndi, nil, 405, "method-not-allowed"},
		{"unknown method", "BREW", ndi, nil, 405, "method-not-allowed"},
		{"PUT of a download", "PUT", "/ManageSoftDL/a.ndi", nil, 405, "method-not-allowed"},
		{"PUT of the root", "PUT", "/ManageSoftRL/", nil, 405, "method-not-allowed"},
		{"elsewhere", "PUT", "/upload/a.ndi", nil, 404, "not-found"},
		{"elsewhere, GET", "GET", "/", nil, 404, "not-found"},
		{"no admin here", "GET", "/metrics", nil, 404, "not-found"},
		{"reachability", "GET", "/ManageSoftRL/", nil, 200, ""},
		{"reachability without slash", "GET", "/managesoftrl", nil, 200, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			resp := ask(s.Handler(), tt.method, tt.path, "hello", tt.headers...)
			if got := code(t, resp); resp.StatusCode != tt.status || got != tt.code {
				t.Errorf("%d %q, want %d %q", resp.StatusCode, got, tt.status, tt.code)
			}
			if (resp.StatusCode == 405) != (resp.Header.Get("Allow") != "") {
				t.Errorf("%d with Allow %q", resp.StatusCode, resp.Header.Get("Allow"))
			}
			if resp.StatusCode == 200 && tt.method == "PUT" {
				if _, b := s.spool.last(t); b != "hello" {
					t.Errorf("stored %q", b)
				}
			} else if len(s.spool.bodies) > 0 {
				t.Errorf("stored %q", s.spool.bodies)
			}
			if strings.HasPrefix(strings.ToLower(tt.path), "/managesoftrl") && resp.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("Cache-Control %q", resp.Header.Get("Cache-Control"))
			}
			if resp.Header.Get("Server") != "" {
				t.Errorf("Server %q", resp.Header.Get("Server"))
			}
		})
	}
}

func TestUploadIsRefusedBeforeItsBody(t *testing.T) {
	for _, tt := range []struct {
		name   string
		length int64
		before func(*site)
		status int
		code   string
		retry  bool
	}{
		{"too large", 2 << 20, func(*site) {}, 413, "too-large", false},
		{"disk full", 5, func(s *site) { s.full = true }, 507, "spool-full", true},
		{"no slot", 5, func(s *site) { s.InFlight = 0 }, 503, "busy", true},
		{"stopping", 5, func(s *site) { s.Drain() }, 503, "busy", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			tt.before(s)
			r := httptest.NewRequest("PUT", "/ManageSoftRL/Logs/a.log", unread{t})
			r.ContentLength = tt.length
			r.Header.Set("Expect", "100-continue")
			rec := httptest.NewRecorder()
			s.Handler().ServeHTTP(rec, r)
			resp := rec.Result()
			if got := code(t, resp); resp.StatusCode != tt.status || got != tt.code {
				t.Errorf("%d %q, want %d %q", resp.StatusCode, got, tt.status, tt.code)
			}
			if (resp.Header.Get("Retry-After") != "") != tt.retry {
				t.Errorf("Retry-After %q", resp.Header.Get("Retry-After"))
			}
		})
	}
}

// unread is a body that nobody may read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, http.ErrBodyReadAfterClose
}

func TestUploadTooLargeOnTheWay(t *testing.T) {
	s := newSite(t)
	r := httptest.NewRequest("PUT", "/ManageSoftRL/Logs/a.log", strings.NewReader(strings.Repeat("x", 1<<20+1)))
	r.ContentLength = -1
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, r)
	if got := code(t, rec.Result()); rec.Code != 413 || got != "too-large" {
		t.Errorf("%d %q", rec.Code, got)
	}
}

func TestSpoolErrorsAreOurs(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		code   string
	}{
		{fmt.Errorf("write /var/lib/beacon/spool/0001: %w", http.ErrAbortHandler), 500, "internal"},
		{fmt.Errorf("spool: %w", uploads.ErrFull), 507, "spool-full"},
		{uploads.ErrClosed, 503, "busy"},
	} {
		s := newSite(t)
		s.spool.err = tt.err
		resp := ask(s.Handler(), "PUT", ndi, "hello")
		b := text(t, resp)
		if resp.StatusCode != tt.status || !strings.Contains(b, `"code":"`+tt.code+`"`) {
			t.Errorf("%v: %d %s", tt.err, resp.StatusCode, b)
		}
		if strings.Contains(b, "/var/lib") || strings.Contains(b, tt.err.Error()) {
			t.Errorf("the answer shows internals: %s", b)
		}
		if tt.status != 500 && resp.Header.Get("Retry-After") == "" {
			t.Errorf("%d without Retry-After", tt.status)
		}
	}
}

func TestHeadSaysWhatIsHeld(t *testing.T) {
	s := newSite(t)
	h := s.Handler()
	if resp := ask(h, "HEAD", ndi, ""); resp.StatusCode != 404 {
		t.Errorf("before: %d", resp.StatusCode)
	}
	ask(h, "PUT", ndi, "one")
	ask(h, "PUT", ndi, "two")
	one, two := uploads.DigestOf([]byte("one")), uploads.DigestOf([]byte("two"))
	for _, tt := range []struct {
		path   string
		status int
		digest string
	}{
		{ndi, 200, hop.FormatDigest(two)},
		{strings.ToLower(ndi), 200, hop.FormatDigest(two)},
		{ndi + "?sha256=" + one.String(), 200, hop.FormatDigest(one)},
		{ndi + "?sha256=" + strings.ToUpper(two.String()), 200, hop.FormatDigest(two)},
		{ndi + "?sha256=" + uploads.DigestOf([]byte("three")).String(), 404, ""},
		{ndi + "?sha256=abc", 400, ""},
		{"/ManageSoftRL/Inventories/other.ndi", 404, ""},
		{"/ManageSoftRL/Inventories/other.exe", 415, ""},
		{"/ManageSoftRL/Inventories/%2e%2e", 400, ""},
	} {
		resp := ask(h, "HEAD", tt.path, "")
		if resp.StatusCode != tt.status || resp.Header.Get("Repr-Digest") != tt.digest || text(t, resp) != "" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", tt.path, resp.StatusCode, resp.Header)
		}
	}
}

func TestInventoryOfAnOldAgentNamesItsDomain(t *testing.T) {
	ndi := func(machine, scope string) string {
		return fmt.Sprintf(`<?xml version="1.0"?><Inventory MachineName=%q Scope=%q>%s</Inventory>`, machine, scope, strings.Repeat("<Hardware/>", 2000))
	}
	late := func(pad string) string {
		return strings.Replace(ndi("pc1", "example.com"), "Scope", fmt.Sprintf("Pad=%q Scope", pad), 1)
	}
	for _, tt := range []struct {
		name, file, body, header, domain string
	}{
		{"late in a long start tag", "PC1 at 20261122T101112.ndi", late(strings.Repeat("x", 700)), "", "example.com"},
		{"behind a comment", "PC1 at 20261122T101112.ndi", strings.Replace(ndi("pc1", "example.com"), "?>", "?><!--"+strings.Repeat("x", 700)+"-->", 1), "", "example.com"},
		{"late in a compressed one", "PC1 at 20261122T101112.ndi.gz", zipped(late(scrambled(2000))), "", "example.com"},
		{"named", "PC1 at 20261122T101112.ndi", ndi("pc1", "example.com"), "", "example.com"},
		{"of another machine", "PC1 at 20261122T101112.ndi", ndi("pc2", "example.com"), "", ""},
		{"a domain that is none", "PC1 at 20261122T101112.ndi", ndi("pc1", "../x"), "", ""},
		{"the header counts first", "PC1 at 20261122T101112.ndi", ndi("pc1", "example.com"), `Beacon-Agent: domain="EXAMPLE", name="PC1"`, "EXAMPLE"},
		{"no inventory", "PC1 at 20261122T101112.ndi", "x", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			var headers []string
			if tt.header != "" {
				headers = append(headers, tt.header)
			}
			resp := ask(s.Handler(), "PUT", "/ManageSoftRL/Inventories/"+url.PathEscape(tt.file), tt.body, headers...)
			d, body := s.spool.last(t)
			if resp.StatusCode != 200 || d.Device != (uploads.Device{Domain: tt.domain, Name: "PC1"}) {
				t.Errorf("%d, device %+v, want domain %q", resp.StatusCode, d.Device, tt.domain)
			}
			if body != tt.body {
				t.Errorf("%d bytes were kept of %d", len(body), len(tt.body))
			}
		})
	}
}

func TestUploadSaysWhoseItIs(t *testing.T) {
	for _, tt := range []struct {
		name, file, header string
		want               uploads.Device
	}{
		{"old agent", "bob on PC1 at 20261122T101112.ndi", "", uploads.Device{Name: "PC1"}},
		{"our agent", "PC1 at 20261122T101112.ndi", `Beacon-Agent: domain="EXAMPLE", name="PC1"`, uploads.Device{Domain: "EXAMPLE", Name: "PC1"}},
		{"a name that names nobody", "dump.ndi", `Beacon-Agent: domain="EXAMPLE", name="PC1"`, uploads.Device{}},
		{"a header that cannot be read", "PC1 at 20261122T101112.ndi", "Beacon-Agent: ;;;", uploads.Device{Name: "PC1"}},
		{"a beacon below", "PC1 at 20261122T101112.ndi", `Beacon-Upload: domain="SUB", device="PC1"`, uploads.Device{Domain: "SUB", Name: "PC1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			var headers []string
			if tt.header != "" {
				headers = append(headers, tt.header)
			}
			resp := ask(s.Handler(), "PUT", "/ManageSoftRL/Inventories/"+url.PathEscape(tt.file), "x", headers...)
			if d, _ := s.spool.last(t); resp.StatusCode != 200 || d.Device != tt.want {
				t.Errorf("%d, device %+v, want %+v", resp.StatusCode, d.Device, tt.want)
			}
		})
	}
}

func TestRefusalIsSeen(t *testing.T) {
	s := newSite(t)
	s.full = true
	ask(s.Handler(), "PUT", ndi, "x", `Beacon-Agent: domain="EXAMPLE", name="pc1"`)
	seen := s.lastSeen(t)
	if seen.Status != 507 || seen.Code != "spool-full" || seen.Device != (uploads.Device{Domain: "EXAMPLE", Name: "pc1"}) || seen.Act != catalogue.ActUpload {
		t.Errorf("seen %+v", seen)
	}
}

// TestOtherRootsAreNotOurs: letters that fold to ours, and a path that looks like one
// behind a host but is not.
func TestOtherRootsAreNotOurs(t *testing.T) {
	for _, tt := range []struct {
		method, target string
		status         int
	}{
		{"PUT", "/managesoftrl/Logs/pc1.log", 200},
		{"PUT", "http://b/ManageSoftRL/Logs/pc1.log", 200},
		{"PUT", "/Manage\u017foftRL/Logs/pc1.log", 404},
		{"PUT", "/Manage%C5%BFoftRL/Logs/pc1.log", 404},
		{"PUT", "//ManageSoftRL/Logs/pc1.log", 404},
		{"PUT", "/other/Logs/pc1.log", 404},
		{"GET", "/other/Policies/Merged/CORP_domain/Machine/PC1.npl", 404},
	} {
		s := newSite(t)
		resp := ask(s.Handler(), tt.method, tt.target, "x")
		if resp.StatusCode != tt.status {
			t.Errorf("%s %s: %s", tt.method, tt.target, resp.Status)
		}
		for _, c := range s.seen {
			if tt.status == 404 && !c.Device.IsZero() {
				t.Errorf("%s %s: seen %+v", tt.method, tt.target, c)
			}
		}
	}
}

// TestOddTargetIsNoUpload: what follows a second :// is a path's, not a URL's.
func TestOddTargetIsNoUpload(t *testing.T) {
	s := newSite(t)
	r := httptest.NewRequest("PUT", "/", strings.NewReader("x"))
	r.RequestURI, r.URL = "http:/x://b/ManageSoftRL/Logs/z.log", &url.URL{Scheme: "http", Path: "/x://b/ManageSoftRL/Logs/z.log"}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if w.Code == 200 || len(s.spool.drafts) > 0 {
		t.Errorf("%d, %+v", w.Code, s.spool.drafts)
	}
}

func TestBadNameIsSeenAsItWasSent(t *testing.T) {
	s := newSite(t)
	ask(s.Handler(), "PUT", "/ManageSoftRL/Logs/\xff%00.log", "x")
	if seen := s.lastSeen(t); seen.Status != 400 || seen.What != "Logs/%FF%00.log" {
		t.Errorf("seen %+v", seen)
	}
}

// TestTurnedAwayByRateIsSeen: an administrator wants to know whose files wait.
func TestTurnedAwayByRateIsSeen(t *testing.T) {
	s := newSite(t)
	s.Limits.Rates = admission.NewRates(map[admission.Endpoint]admission.Rate{admission.Upload: {Peer: 0.5}}, nil)
	h := s.Handler()
	for range 20 {
		ask(h, "PUT", ndi, "x", `Beacon-Agent: domain="EXAMPLE", name="pc1"`)
	}
	if seen := s.lastSeen(t); seen.Status != 429 || seen.Device.Name != "pc1" {
		t.Errorf("seen %+v", seen)
	}
}

func TestRelayedUploadIsNoContactOfItsDevice(t *testing.T) {
	s := newSite(t)
	if resp := ask(s.Handler(), "PUT", ndi, "x", "Beacon-Via: child"); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	if n := len(s.seen); n != 0 {
		t.Errorf("%d contacts from a relayed upload", n)
	}
	if resp := ask(s.Handler(), "PUT", ndi, "y"); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	s.lastSeen(t)
}

// deadlines is a response that notes the limits set for writing it.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetWriteDeadline(t time.Time) error { d.set = append(d.set, t); return nil }

// An answer has its time after the body, however long that takes to come.
func TestAnswerHasItsTimeAfterTheBody(t *testing.T) {
	s := newSite(t)
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	s.Handler().ServeHTTP(w, httptest.NewRequest("PUT", ndi, strings.NewReader("hello")))
	if len(w.set) != 2 || !w.set[0].IsZero() || time.Until(w.set[1]) <= 0 || w.Code != 200 {
		t.Errorf("%d, deadlines %v", w.Code, w.set)
	}
}

// scrambled is text that does not compress well.
func scrambled(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + r.IntN(26))
	}
	return string(b)
}
