package beacon_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"inventorybeacon/policy"
	"inventorybeacon/policy/revision"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
)

const osd = "/ManageSoftDL/Schedules/Default%20Machine%20Schedule.osd"

// digits is ten bytes that say where they are.
const digits = "0123456789"

func downloads(t *testing.T) (*site, http.Handler) {
	s := newSite(t)
	s.snapshot.files["schedules/default machine schedule.osd"] = object(digits)
	s.snapshot.files["clientsettings/a/a.nds"] = coded(object(strings.Repeat("settings ", 100)))
	return s, s.Handler()
}

func TestDownloadIsConditional(t *testing.T) {
	_, h := downloads(t)
	first := ask(h, "GET", osd, "")
	etag, modified := first.Header.Get("ETag"), first.Header.Get("Last-Modified")
	sum := sha256.Sum256([]byte(digits))
	for k, want := range map[string]string{
		"ETag": object(digits).ETag, "Last-Modified": "Fri, 20 Nov 2026 08:30:00 GMT", "Cache-Control": "no-cache",
		"Repr-Digest": "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":", "Content-Type": "application/xml",
		"Content-Length": "10", "Accept-Ranges": "bytes", "Server": "", "Vary": "",
	} {
		if got := first.Header.Get(k); got != want {
			t.Errorf("%s: %q, want %q", k, got, want)
		}
	}
	if text(t, first) != digits || first.StatusCode != http.StatusOK {
		t.Fatalf("first answer: %v", first)
	}
	for _, tt := range []struct {
		name    string
		headers []string
		status  int
	}{
		{"same tag", []string{"If-None-Match: " + etag}, 304},
		{"weak tag", []string{"If-None-Match: W/" + etag}, 304},
		{"tag in a list", []string{`If-None-Match: "x", ` + etag + `, "y"`}, 304},
		{"any tag", []string{"If-None-Match: *"}, 304},
		{"another tag", []string{`If-None-Match: "x"`}, 200},
		{"another tag beats the time", []string{`If-None-Match: "x"`, "If-Modified-Since: " + modified}, 200},
		{"same time", []string{"If-Modified-Since: " + modified}, 304},
		{"later", []string{"If-Modified-Since: Sat, 21 Nov 2026 00:00:00 GMT"}, 304},
		{"earlier", []string{"If-Modified-Since: Fri, 20 Nov 2026 08:29:59 GMT"}, 200},
		{"no time", []string{"If-Modified-Since: yesterday"}, 200},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			t.Run(method+" "+tt.name, func(t *testing.T) {
				resp := ask(h, method, osd, "", tt.headers...)
				if resp.StatusCode != tt.status || resp.Header.Get("ETag") != etag {
					t.Errorf("%d, ETag %q; want %d", resp.StatusCode, resp.Header.Get("ETag"), tt.status)
				}
				if b := text(t, resp); b != "" && (tt.status == 304 || method == "HEAD") {
					t.Errorf("body %q", b)
				}
			})
		}
	}
}

func TestHeadEqualsGet(t *testing.T) {
	_, h := downloads(t)
	for _, path := range []string{osd, "/ManageSoftDL/ClientSettings/a/a.nds", "/ManageSoftDL/none", "/ManageSoftRL/", "/elsewhere", "/ManageSoftDL/%2e%2e/x"} {
		get, head := ask(h, "GET", path, ""), ask(h, "HEAD", path, "")
		if get.StatusCode != head.StatusCode || fmt.Sprint(get.Header) != fmt.Sprint(head.Header) {
			t.Errorf("%s: GET %d %v, HEAD %d %v", path, get.StatusCode, get.Header, head.StatusCode, head.Header)
		}
		if b := text(t, head); b != "" {
			t.Errorf("%s: HEAD has the body %q", path, b)
		}
	}
}

func TestDownloadGivesRanges(t *testing.T) {
	s, h := downloads(t)
	s.snapshot.files["packages/large"] = func() *revision.Object {
		o := object(digits)
		o.ETag, o.Modified = `"other"`, published
		return o
	}()
	etag := object(digits).ETag
	for _, tt := range []struct {
		name, ranges string
		status       int
		body         string
		headers      []string
	}{
		{"first", "bytes=0-3", 206, "0123", nil},
		{"middle", "bytes=4-5", 206, "45", nil},
		{"rest", "bytes=7-", 206, "789", nil},
		{"last", "bytes=-2", 206, "89", nil},
		{"past the end", "bytes=8-99", 206, "89", nil},
		{"more than all", "bytes=-99", 206, digits, nil},
		{"beyond", "bytes=10-", 416, "", nil},
		{"nothing", "bytes=-0", 416, "", nil},
		{"huge", "bytes=99999999999999999999-", 416, "", nil},
		{"backwards", "bytes=5-4", 200, digits, nil},
		{"another unit", "lines=1-2", 200, digits, nil},
		{"no number", "bytes=a-b", 200, digits, nil},
		{"plus", "bytes=+1-2", 200, digits, nil},
		{"overlapping", "bytes=0-9,0-9,0-9", 200, digits, nil},
		{"one of two exists", "bytes=20-,1-1", 206, "1", nil},
		{"if same tag", "bytes=7-", 206, "789", []string{"If-Range: " + etag}},
		{"if weak tag", "bytes=7-", 200, digits, []string{"If-Range: W/" + etag}},
		{"if another tag", "bytes=7-", 200, digits, []string{`If-Range: "x"`}},
		{"if same time", "bytes=7-", 206, "789", []string{"If-Range: Fri, 20 Nov 2026 08:30:00 GMT"}},
		{"if another time", "bytes=7-", 200, digits, []string{"If-Range: Fri, 20 Nov 2026 08:31:00 GMT"}},
		{"have it", "bytes=7-", 304, "", []string{"If-None-Match: " + etag}},
		{"sixteen", "bytes=0-0" + strings.Repeat(",20-20", 15), 206, "0", nil},
		{"seventeen", "bytes=0-0" + strings.Repeat(",20-20", 16), 200, digits, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp := ask(h, "GET", osd, "", append(tt.headers, "Range: "+tt.ranges)...)
			if resp.StatusCode != tt.status {
				t.Fatalf("%d, want %d", resp.StatusCode, tt.status)
			}
			if tt.status == 416 {
				if c := code(t, resp); c != "bad-range" || resp.Header.Get("Content-Range") != "bytes */10" || resp.Header.Get("ETag") != "" {
					t.Errorf("%q, %v", c, resp.Header)
				}
				return
			}
			if b := text(t, resp); b != tt.body {
				t.Errorf("body %q, want %q", b, tt.body)
			}
		})
	}
}

func TestDownloadGivesSeveralRanges(t *testing.T) {
	_, h := downloads(t)
	resp := ask(h, "GET", osd, "", "Range: bytes=0-1, 4-4 ,-2")
	media, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode != 206 || media != "multipart/byteranges" || err != nil {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	body := text(t, resp)
	if resp.Header.Get("Content-Length") != fmt.Sprint(len(body)) {
		t.Errorf("Content-Length %s, body has %d", resp.Header.Get("Content-Length"), len(body))
	}
	mr := multipart.NewReader(strings.NewReader(body), params["boundary"])
	for _, want := range []string{"01 bytes 0-1/10", "4 bytes 4-4/10", "89 bytes 8-9/10"} {
		p, err := mr.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(p)
		if got := string(b) + " " + p.Header.Get("Content-Range"); got != want || p.Header.Get("Content-Type") != "application/xml" {
			t.Errorf("part %q %v, want %q", got, p.Header, want)
		}
	}
	if _, err := mr.NextPart(); err != io.EOF {
		t.Errorf("after the last part: %v", err)
	}
}

func TestDownloadPicksCoding(t *testing.T) {
	s, h := downloads(t)
	o := s.snapshot.files["clientsettings/a/a.nds"]
	tags := map[string]string{"": o.ETag, "gzip": o.Gzip.ETag, "zstd": o.Zstd.ETag}
	for _, tt := range []struct{ accept, coding string }{
		{"", ""}, {"gzip", "gzip"}, {"zstd", "zstd"}, {"GZIP", "gzip"}, {"br", ""}, {"gzip, zstd", "zstd"},
		{"gzip;q=1.0, zstd;q=0.5", "gzip"}, {"gzip;q=0", ""}, {"gzip;q=0, zstd", "zstd"}, {"*", "zstd"},
		{"*;q=0", ""}, {"identity", ""}, {"identity;q=1, gzip;q=0.5", ""}, {"gzip;q=0.001", "gzip"},
		{"gzip;q=nonsense", ""}, {"gzip;q=NaN", ""}, {"identity;q=0, gzip", "gzip"}, {"zstd;q=0, *", "gzip"},
	} {
		t.Run(tt.accept, func(t *testing.T) {
			resp := ask(h, "GET", "/ManageSoftDL/ClientSettings/a/a.nds", "", "Accept-Encoding: "+tt.accept)
			got := resp.Header.Get("Content-Encoding")
			if got != tt.coding || resp.Header.Get("Vary") != "Accept-Encoding" || resp.Header.Get("ETag") != tags[tt.coding] {
				t.Errorf("coding %q, want %q; %v", got, tt.coding, resp.Header)
			}
			body := []byte(text(t, resp))
			sum := sha256.Sum256(body)
			if resp.Header.Get("Repr-Digest") != "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":" {
				t.Error("Repr-Digest is not of the bytes sent")
			}
			if got == "gzip" {
				z, err := gzip.NewReader(bytes.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				if body, err = io.ReadAll(z); err != nil || !bytes.Equal(body, o.Body) {
					t.Errorf("inflates to %q, %v", body, err)
				}
			}
			again := ask(h, "GET", "/ManageSoftDL/ClientSettings/a/a.nds", "", "Accept-Encoding: "+tt.accept, "If-None-Match: "+tags[tt.coding])
			if again.StatusCode != 304 || again.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("again: %d %v", again.StatusCode, again.Header)
			}
		})
	}
}

func TestPolicyPathNamesDevice(t *testing.T) {
	s := newSite(t)
	var asked policy.Query
	s.snapshot.policy = func(q policy.Query) (*revision.Object, error) {
		asked = q
		if q.Device == "stranger" {
			return nil, policy.ErrNone
		}
		o := object("policy of " + q.Device)
		o.Private = true
		return o, nil
	}
	h := s.Handler()
	const merged = "/ManageSoftDL/Policies/Merged/EXAMPLE_domain/Machine/"
	for _, tt := range []struct {
		path   string
		query  policy.Query
		device uploads.Device
		status int
	}{
		{merged + "pc1.npl", policy.Query{Domain: "EXAMPLE", Device: "pc1"}, uploads.Device{Domain: "EXAMPLE", Name: "pc1"}, 200},
		{"/managesoftdl/policies/MERGED/EXAMPLE_Domain/machine/PC1.NPL", policy.Query{Domain: "EXAMPLE", Device: "PC1"}, uploads.Device{Domain: "EXAMPLE", Name: "PC1"}, 200},
		{merged + "stra%C3%9Fe%201.npl", policy.Query{Domain: "EXAMPLE", Device: "straße 1"}, uploads.Device{Domain: "EXAMPLE", Name: "straße 1"}, 200},
		{merged + "pc1.npl?agent=1&os=linux&arch=amd64", policy.Query{Domain: "EXAMPLE", Device: "pc1", Ours: true, OS: "linux", Arch: "amd64"}, uploads.Device{Domain: "EXAMPLE", Name: "pc1"}, 200},
		{"/ManageSoftDL//Policies/Merged/EXAMPLE_domain/Machine/pc1.npl", policy.Query{Domain: "EXAMPLE", Device: "pc1"}, uploads.Device{Domain: "EXAMPLE", Name: "pc1"}, 200},
		{merged + "device.npl", policy.Query{Domain: "EXAMPLE", Device: "device"}, uploads.Device{}, 200},
		{merged + "stranger.npl", policy.Query{Domain: "EXAMPLE", Device: "stranger"}, uploads.Device{Domain: "EXAMPLE", Name: "stranger"}, 404},
	} {
		t.Run(tt.path, func(t *testing.T) {
			resp := ask(h, "GET", tt.path, "")
			tt.query.Address = anyone
			if resp.StatusCode != tt.status || asked != tt.query {
				t.Errorf("%d, asked %+v, want %d %+v", resp.StatusCode, asked, tt.status, tt.query)
			}
			if tt.status == 404 && (code(t, resp) != "not-found" || resp.Header.Get("Cache-Control") != "no-store") {
				t.Error("404 may be kept by a cache, or is no verdict")
			}
			if tt.status == 200 && resp.Header.Get("Cache-Control") != "private, no-cache" {
				t.Errorf("Cache-Control %q", resp.Header.Get("Cache-Control"))
			}
			seen := s.lastSeen(t)
			if seen.Device != tt.device || seen.Peer != anyone.String() || seen.Act != catalogue.ActPolicy || seen.Status != tt.status {
				t.Errorf("seen %+v", seen)
			}
		})
	}
}

func TestAddressDecidesSoTimeAloneDoesNot(t *testing.T) {
	s := newSite(t)
	calls := 0
	s.snapshot.policy = func(q policy.Query) (*revision.Object, error) {
		calls++
		o := object("for " + q.Address.String())
		o.ByAddress = true
		return o, nil
	}
	h := s.Handler()
	const path = "/ManageSoftDL/Policies/Merged/EXAMPLE_domain/Machine/pc1.npl"
	first := ask(h, "GET", path, "")
	if resp := ask(h, "GET", path, "", "If-Modified-Since: "+first.Header.Get("Last-Modified")); resp.StatusCode != 200 {
		t.Errorf("If-Modified-Since alone: %d", resp.StatusCode)
	}
	if resp := ask(h, "GET", path, "", "If-None-Match: "+first.Header.Get("ETag")); resp.StatusCode != 304 {
		t.Errorf("If-None-Match: %d", resp.StatusCode)
	}
	if calls != 3 {
		t.Errorf("asked %d times for 3 requests: an answer was kept for another address", calls)
	}
}

func TestAnswerChangesWithSnapshot(t *testing.T) {
	s, h := downloads(t)
	for range 2 {
		ask(h, "GET", osd, "")
	}
	s.snapshot = &snapshot{files: map[string]*revision.Object{"schedules/default machine schedule.osd": object("new")}}
	if b := text(t, ask(h, "GET", osd, "")); b != "new" {
		t.Errorf("after a publication: %q", b)
	}
	s.snapshot = &snapshot{}
	if resp := ask(h, "GET", osd, ""); resp.StatusCode != 404 {
		t.Errorf("after a withdrawal: %d", resp.StatusCode)
	}
}

func TestImmutableNameIsKept(t *testing.T) {
	s := newSite(t)
	o := object("x")
	o.Immutable = true
	s.snapshot.files["schedules/a~0123456789abcdef.osd"] = o
	h := s.Handler()
	resp := ask(h, "GET", "/ManageSoftDL/Schedules/a~0123456789abcdef.osd", "")
	if got := resp.Header.Get("Cache-Control"); !strings.Contains(got, "immutable") || !strings.Contains(got, "public") || !strings.Contains(got, "max-age=") {
		t.Errorf("Cache-Control %q", got)
	}
}

// No request header but Accept-Encoding and Range changes a body.
func TestBodyDependsOnPathAlone(t *testing.T) {
	_, h := downloads(t)
	for _, header := range []string{
		"User-Agent: ndlaunch", "Accept: text/html", "Accept-Language: de", `Beacon-Agent: name="pc1", version="9"`,
		"X-Forwarded-For: 10.1.1.1", "Cookie: a=b", "Authorization: Basic eDp5", "Host: elsewhere",
	} {
		if b := text(t, ask(h, "GET", osd, "", header)); b != digits {
			t.Errorf("%s: %q", header, b)
		}
	}
}

func TestForwardedForCountsFromProxiesOnly(t *testing.T) {
	for _, tt := range []struct {
		name, remote, forwarded, want string
	}{
		{"no proxy", "198.51.100.7:1", "10.0.0.1", "198.51.100.7"},
		{"proxy", "192.0.2.9:1", "203.0.113.5", "203.0.113.5"},
		{"proxy behind a proxy", "192.0.2.9:1", "203.0.113.5, 192.0.2.8", "203.0.113.5"},
		{"forged before the proxy", "192.0.2.9:1", "10.0.0.1, 203.0.113.5", "203.0.113.5"},
		{"proxy that says nothing", "192.0.2.9:1", "", "192.0.2.9"},
		{"proxy that says nonsense", "192.0.2.9:1", "unknown", "192.0.2.9"},
		{"mapped", "[::ffff:192.0.2.9]:1", "2001:db8::5", "2001:db8::5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			s.Proxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
			var got netip.Addr
			s.snapshot.policy = func(q policy.Query) (*revision.Object, error) { got = q.Address; return nil, policy.ErrNone }
			r := httptest.NewRequest("GET", "/ManageSoftDL/Policies/Merged/E_domain/Machine/a.npl", nil)
			r.RemoteAddr = tt.remote
			r.Header.Set("X-Forwarded-For", tt.forwarded)
			s.Handler().ServeHTTP(httptest.NewRecorder(), r)
			if got.String() != tt.want {
				t.Errorf("address %v, want %s", got, tt.want)
			}
		})
	}
}
