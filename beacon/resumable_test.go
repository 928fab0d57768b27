package beacon_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"inventorybeacon/beacon"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent/hop"
	"inventorybeacon/uploads/resumable"
	"inventorybeacon/uploads/resumable/partial"
	"inventorybeacon/uploads/spool"
)

const (
	partLog   = "/ManageSoftRL/Logs/a.log"
	partMedia = "Content-Type: application/partial-upload"
)

// resuming makes s take uploads in parts, below a directory of the test's own.
func (s *site) resuming(t testing.TB, o resumable.Options) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if o.MaxAge == 0 {
		o.MaxAge = time.Hour
	}
	store, _, err := resumable.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	s.Resumption = beacon.Resumption{Store: store, Adopt: func(ctx context.Context, d spool.Draft, file string) (uploads.Receipt, error) {
		name := filepath.Join(dir, file)
		f, err := os.Open(name)
		if err != nil {
			return uploads.Receipt{}, err
		}
		defer f.Close()
		r, err := s.spool.Accept(ctx, d, f)
		if err == nil {
			err = os.Remove(name)
		}
		return r, err
	}}
	return dir
}

// begin creates an upload with an empty request and returns its path.
func begin(t testing.TB, h http.Handler, headers ...string) string {
	t.Helper()
	resp := ask(h, "POST", partLog, "", append(headers, "Upload-Complete: ?0")...)
	if resp.StatusCode != 201 || resp.Header.Get("Location") == "" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	return resp.Header.Get("Location")
}

func sends(h http.Handler, at string, offset int, complete string, body string, headers ...string) *http.Response {
	return ask(h, "PATCH", at, body, append(headers, partMedia, fmt.Sprintf("Upload-Offset: %d", offset), "Upload-Complete: "+complete)...)
}

func wantState(t testing.TB, resp *http.Response, status int, offset, complete string) {
	t.Helper()
	h := resp.Header
	if resp.StatusCode != status || h.Get("Upload-Offset") != offset || h.Get("Upload-Complete") != complete || h.Get("Cache-Control") != "no-store" {
		b, _ := io.ReadAll(resp.Body)
		t.Errorf("%d, offset %q, complete %q, %q: %s; want %d, %s, %s", resp.StatusCode, h.Get("Upload-Offset"), h.Get("Upload-Complete"), h.Get("Cache-Control"), b, status, offset, complete)
	}
}

func receiptOf(t testing.TB, resp *http.Response) (r uploads.Receipt) {
	t.Helper()
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return r
}

// problemOf reads a problem document with its extension members.
func problemOf(t testing.TB, resp *http.Response) (doc map[string]any) {
	t.Helper()
	if resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%s is no problem", resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestUploadComesInParts(t *testing.T) {
	for _, method := range []string{"POST", "PUT"} {
		for _, interop := range []string{"", "8", "7"} {
			t.Run(method+" "+interop, func(t *testing.T) {
				s := newSite(t)
				s.resuming(t, resumable.Options{})
				h := s.Handler()
				var headers []string
				if interop != "" {
					headers = append(headers, "Upload-Draft-Interop-Version: "+interop)
				}
				resp := ask(h, method, partLog, "hello ", append(headers, "Upload-Complete: ?0", "Upload-Length: 16")...)
				wantState(t, resp, 201, "6", "?0")
				at := resp.Header.Get("Location")
				if l, ok := partial.ParseLimits(resp.Header.Values("Upload-Limit")); !ok || l.MaxSize != 1<<20 || l.MaxAge < 3500 || l.MinAppendSize == 0 {
					t.Errorf("Upload-Limit %q", resp.Header.Get("Upload-Limit"))
				}
				resp = ask(h, "HEAD", at, "")
				wantState(t, resp, 204, "6", "?0")
				if resp.Header.Get("Upload-Length") != "16" || resp.Header.Get("Upload-Limit") == "" {
					t.Errorf("%v", resp.Header)
				}
				wantState(t, sends(h, at, 6, "?0", "small ", headers...), 204, "12", "?0")
				if len(s.spool.bodies) > 0 {
					t.Fatal("stored too early")
				}
				resp = sends(h, at, 12, "?1", "town", headers...)
				if got := resp.Header.Get("Upload-Complete"); got != "?1" {
					t.Errorf("Upload-Complete %q", got)
				}
				r := receiptOf(t, resp)
				if d, body := s.spool.last(t); body != "hello small town" || d.Length != 16 || r.Bytes != 16 || r.Duplicate {
					t.Errorf("%q %+v %+v", body, d, r)
				}
				wantState(t, ask(h, "HEAD", at, ""), 204, "16", "?1")
			})
		}
	}
}

// A whole upload whose sender could go on if it were told where gets its receipt
// at once.
func TestWholeUploadThatCouldBeResumed(t *testing.T) {
	s := newSite(t)
	s.resuming(t, resumable.Options{})
	h := s.Handler()
	resp := ask(h, "PUT", partLog, "hello", "Upload-Complete: ?1", "Upload-Length: 5")
	if resp.Header.Get("Upload-Complete") != "?1" || receiptOf(t, resp).Bytes != 5 {
		t.Errorf("%v", resp.Header)
	}
	resp = ask(h, "POST", "/ManageSoftRL/Logs/b.log", "", "Upload-Complete: ?1")
	if receiptOf(t, resp).Bytes != 0 {
		t.Errorf("an empty file: %v", resp.Header)
	}
	// Not structured, so that it is as good as not there.
	resp = ask(h, "PUT", "/ManageSoftRL/Logs/c.log", "hello", "Upload-Complete: false")
	if receiptOf(t, resp).Bytes != 5 || resp.Header.Get("Upload-Complete") != "" {
		t.Errorf("%v", resp.Header)
	}
}

func TestPartAtTheWrongOffset(t *testing.T) {
	s := newSite(t)
	s.resuming(t, resumable.Options{})
	h := s.Handler()
	at := begin(t, h)
	sends(h, at, 0, "?0", "hello")
	for _, offset := range []int{0, 4, 6, 100} {
		resp := sends(h, at, offset, "?1", "xx")
		wantState(t, resp, 409, "5", "?0")
		doc := problemOf(t, resp)
		if doc["code"] != "offset-mismatch" || doc["type"] != partial.MismatchingOffset || doc["expected-offset"] != 5.0 || doc["provided-offset"] != float64(offset) {
			t.Errorf("%v", doc)
		}
	}
	wantState(t, ask(h, "HEAD", at, ""), 204, "5", "?0")
}

func TestPartMustSayWhatItIs(t *testing.T) {
	s := newSite(t)
	s.resuming(t, resumable.Options{})
	h := s.Handler()
	at := begin(t, h)
	for _, tt := range []struct {
		name    string
		headers []string
		status  int
		code    string
	}{
		{"another media type", []string{"Content-Type: text/plain", "Upload-Offset: 0", "Upload-Complete: ?0"}, 415, "bad-kind"},
		{"no media type", []string{"Upload-Offset: 0", "Upload-Complete: ?0"}, 415, "bad-kind"},
		{"no offset", []string{partMedia, "Upload-Complete: ?0"}, 400, "bad-request"},
		{"an offset that is none", []string{partMedia, "Upload-Offset: -1", "Upload-Complete: ?0"}, 400, "bad-request"},
		{"not complete, not incomplete", []string{partMedia, "Upload-Offset: 0"}, 400, "bad-request"},
		{"coded", []string{partMedia, "Upload-Offset: 0", "Upload-Complete: ?0", "Content-Encoding: gzip"}, 415, "bad-kind"},
		{"a range", []string{partMedia, "Upload-Offset: 0", "Upload-Complete: ?0", "Content-Range: bytes 0-4/5"}, 400, "bad-request"},
		{"a digest that does not fit", []string{partMedia, "Upload-Offset: 0", "Upload-Complete: ?0", "Content-Digest: " + hop.FormatDigest(uploads.DigestOf([]byte("other")))}, 422, "digest-mismatch"},
		{"media type with parameters", []string{partMedia + "; x=y", "Upload-Offset: 0", "Upload-Complete: ?0", "Content-Digest: " + hop.FormatDigest(uploads.DigestOf([]byte("hello")))}, 204, ""},
	} {
		resp := ask(h, "PATCH", at, "hello", tt.headers...)
		if got := code(t, resp); resp.StatusCode != tt.status || got != tt.code {
			t.Errorf("%s: %d %q", tt.name, resp.StatusCode, got)
		}
		if tt.status == 415 && strings.Contains(tt.name, "media") && resp.Header.Get("Accept-Patch") != partial.MediaType {
			t.Errorf("%s: Accept-Patch %q", tt.name, resp.Header.Get("Accept-Patch"))
		}
	}
	wantState(t, ask(h, "HEAD", at, ""), 204, "5", "?0")
}

func TestLengthsMustAgree(t *testing.T) {
	inconsistent := func(t *testing.T, resp *http.Response) {
		t.Helper()
		if doc := problemOf(t, resp); resp.StatusCode != 400 || doc["type"] != partial.InconsistentLength || doc["code"] != "bad-request" {
			t.Errorf("%d %v", resp.StatusCode, doc)
		}
	}
	for _, tt := range []struct {
		name    string
		created []string
		do      func(h http.Handler, at string) *http.Response
		left    int // status of a HEAD afterwards
	}{
		{"the last part is too short", []string{"Upload-Length: 10"}, func(h http.Handler, at string) *http.Response { return sends(h, at, 0, "?1", "hello") }, 204},
		{"another length is stated", []string{"Upload-Length: 10"}, func(h http.Handler, at string) *http.Response {
			return sends(h, at, 0, "?0", "hello", "Upload-Length: 11")
		}, 204},
		{"two in one request", nil, func(h http.Handler, at string) *http.Response {
			return sends(h, at, 0, "?1", "hello", "Upload-Length: 6")
		}, 204},
		{"a part goes beyond", []string{"Upload-Length: 4"}, func(h http.Handler, at string) *http.Response { return sends(h, at, 0, "?0", "hello") }, 410},
		{"a part of unknown length goes beyond", []string{"Upload-Length: 4"}, func(h http.Handler, at string) *http.Response {
			r := newRequest("PATCH", at, io.MultiReader(strings.NewReader("hello")), partMedia, "Upload-Offset: 0", "Upload-Complete: ?0")
			r.ContentLength = -1
			return serve(h, r)
		}, 410},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			s.resuming(t, resumable.Options{})
			h := s.Handler()
			at := begin(t, h, tt.created...)
			inconsistent(t, tt.do(h, at))
			if got := ask(h, "HEAD", at, ""); got.StatusCode != tt.left {
				t.Errorf("afterwards %d, want %d", got.StatusCode, tt.left)
			}
			if len(s.spool.bodies) > 0 {
				t.Errorf("stored %q", s.spool.bodies)
			}
		})
	}
	t.Run("at creation", func(t *testing.T) {
		s := newSite(t)
		s.resuming(t, resumable.Options{})
		inconsistent(t, ask(s.Handler(), "PUT", partLog, "hello", "Upload-Complete: ?1", "Upload-Length: 6"))
	})
}

func TestTooMuchIsRefused(t *testing.T) {
	s := newSite(t)
	s.resuming(t, resumable.Options{})
	h := s.Handler()
	check := func(what string, resp *http.Response) {
		t.Helper()
		l, _ := partial.ParseLimits(resp.Header.Values("Upload-Limit"))
		if got := code(t, resp); resp.StatusCode != 413 || got != "too-large" || l.MaxSize != 1<<20 {
			t.Errorf("%s: %d %q %+v", what, resp.StatusCode, got, l)
		}
	}
	check("stated", ask(h, "POST", partLog, "", "Upload-Complete: ?0", "Upload-Length: 1048577"))
	check("brought", sends(h, begin(t, h), 0, "?0", strings.Repeat("x", 1<<20+1)))
	check("whole", ask(h, "PUT", partLog, strings.Repeat("x", 1<<20+1), "Upload-Complete: ?1"))
}

// The answer to the last part may be lost: HEAD says that the upload is complete,
// and the last part again gets the receipt again.
func TestLostReceiptIsGivenAgain(t *testing.T) {
	s := newSite(t)
	s.resuming(t, resumable.Options{})
	h := s.Handler()
	at := begin(t, h)
	sends(h, at, 0, "?0", "hello ")
	first := receiptOf(t, sends(h, at, 6, "?1", "world"))
	for name, resp := range map[string]*http.Response{
		"the same part":     sends(h, at, 6, "?1", "world"),
		"an empty last one": sends(h, at, 11, "?1", ""),
	} {
		if r := receiptOf(t, resp); r.ID != first.ID || !r.Duplicate || resp.Header.Get("Upload-Complete") != "?1" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if len(s.spool.bodies) != 1 {
		t.Errorf("stored %d times", len(s.spool.bodies))
	}
	for name, resp := range map[string]*http.Response{
		"more":            sends(h, at, 11, "?1", "!"),
		"another offset":  sends(h, at, 0, "?1", "hello"),
		"not complete":    sends(h, at, 11, "?0", ""),
		"other last part": sends(h, at, 6, "?1", "worlds"),
	} {
		if doc := problemOf(t, resp); resp.StatusCode != 400 || doc["type"] != partial.InconsistentLength || resp.Header.Get("Upload-Complete") != "?1" {
			t.Errorf("%s: %d %v", name, resp.StatusCode, doc)
		}
	}
	s.spool.mu.Lock()
	s.spool.drafts, s.spool.bodies = nil, nil // the file was lost after all
	s.spool.mu.Unlock()
	if resp := ask(h, "HEAD", at, ""); resp.StatusCode != 410 {
		t.Errorf("of a lost file: %d", resp.StatusCode)
	}
}

func TestDigestOfTheWholeIsVerified(t *testing.T) {
	sum := uploads.DigestOf([]byte("hello world"))
	for _, tt := range []struct {
		text   string
		status int
	}{{"world", 200}, {"earth", 422}} {
		s := newSite(t)
		s.resuming(t, resumable.Options{})
		h := s.Handler()
		at := begin(t, h, "Repr-Digest: "+hop.FormatDigest(sum), "Upload-Length: 11")
		sends(h, at, 0, "?0", "hello ")
		resp := sends(h, at, 6, "?1", tt.text)
		if resp.StatusCode != tt.status || resp.Header.Get("Upload-Complete") != "?1" {
			t.Errorf("%s: %d %v", tt.text, resp.StatusCode, resp.Header)
		}
		if got := ask(h, "HEAD", at, ""); (got.StatusCode == 410) != (tt.status == 422) {
			t.Errorf("%s: afterwards %d", tt.text, got.StatusCode)
		}
	}
}

// The digest of a first part says nothing of the whole.
func TestFirstPartHasADigestOfItsOwn(t *testing.T) {
	s := newSite(t)
	s.resuming(t, resumable.Options{})
	h := s.Handler()
	whole, part := sha256.Sum256([]byte("hello world")), sha256.Sum256([]byte("hello "))
	field := func(b [32]byte) string { return "sha-256=:" + base64.StdEncoding.EncodeToString(b[:]) + ":" }
	resp := ask(h, "PUT", partLog, "hello ", "Upload-Complete: ?0", "Repr-Digest: "+field(whole), "Content-Digest: "+field(part))
	wantState(t, resp, 201, "6", "?0")
	if r := receiptOf(t, sends(h, resp.Header.Get("Location"), 6, "?1", "world")); r.SHA256 != whole {
		t.Errorf("%+v", r)
	}
	resp = ask(h, "PUT", partLog, "hellO ", "Upload-Complete: ?0", "Content-Digest: "+field(part))
	if got := code(t, resp); resp.StatusCode != 422 || got != "digest-mismatch" {
		t.Errorf("%d %q", resp.StatusCode, got)
	}
}

func TestCancelledAndUnknownUploads(t *testing.T) {
	s := newSite(t)
	dir := s.resuming(t, resumable.Options{})
	h := s.Handler()
	at := begin(t, h)
	sends(h, at, 0, "?0", "hello")
	if resp := ask(h, "DELETE", at, ""); resp.StatusCode != 204 {
		t.Errorf("DELETE: %d", resp.StatusCode)
	}
	left, err := os.ReadDir(filepath.Join(dir, resumable.Dir))
	if err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	nobody := "/ManageSoftRL/.resumable/" + strings.Repeat("a", 26)
	for _, tt := range []struct {
		at     string
		status int
		code   string
	}{
		{at, 410, "gone"}, {nobody, 404, "not-found"}, {"/managesoftrl/.RESUMABLE/" + strings.Repeat("a", 26), 404, "not-found"},
		{"/ManageSoftRL/.resumable/..%2f..%2fcatalog.db", 404, "not-found"}, {"/ManageSoftRL/.resumable/" + strings.Repeat("a", 4000), 404, "not-found"},
	} {
		for _, resp := range []*http.Response{sends(h, tt.at, 0, "?0", "x"), ask(h, "DELETE", tt.at, "")} {
			if got := code(t, resp); resp.StatusCode != tt.status || got != tt.code {
				t.Errorf("%s: %d %q", tt.at, resp.StatusCode, got)
			}
		}
		if resp := ask(h, "HEAD", tt.at, ""); resp.StatusCode != tt.status {
			t.Errorf("HEAD %s: %d", tt.at, resp.StatusCode)
		}
	}
	for _, method := range []string{"GET", "PUT", "POST"} {
		if resp := ask(h, method, at, ""); resp.StatusCode != 405 || !strings.Contains(resp.Header.Get("Allow"), "PATCH") {
			t.Errorf("%s: %d, %q", method, resp.StatusCode, resp.Header.Get("Allow"))
		}
	}
}

func TestOptionsTellLimitsAndMethods(t *testing.T) {
	s := newSite(t)
	s.resuming(t, resumable.Options{})
	h := s.Handler()
	for path, most := range map[string]int64{
		partLog: 1 << 20, "/ManageSoftRL/Inventories/a.ndi": uploads.DefaultMaxBytes, "/ManageSoftRL/": uploads.DefaultMaxBytes, begin(t, h): uploads.DefaultMaxBytes,
	} {
		resp := ask(h, "OPTIONS", path, "")
		l, ok := partial.ParseLimits(resp.Header.Values("Upload-Limit"))
		if resp.StatusCode != 204 || resp.Header.Get("Accept-Patch") != partial.MediaType || !ok || l.MaxSize != most || resp.Header.Get("Allow") == "" {
			t.Errorf("%s: %d %v", path, resp.StatusCode, resp.Header)
		}
		for _, method := range []string{"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"} {
			told := strings.Contains(resp.Header.Get("Allow"), method)
			bare := ask(h, method, path, "", "Upload-Complete: ?1", "Upload-Offset: 0", "Content-Type: "+partial.MediaType)
			if told == (bare.StatusCode == 405) && !(method == "GET" && told) { // GET of an upload needs its digest
				t.Errorf("%s %s: %d, of Allow: %s", method, path, bare.StatusCode, resp.Header.Get("Allow"))
			}
		}
	}
}

// A plain POST is no upload, with the store or without it, and without it nothing
// is said of parts.
func TestPlainPostIsRefused(t *testing.T) {
	for _, offered := range []bool{true, false} {
		s := newSite(t)
		if offered {
			s.resuming(t, resumable.Options{})
		}
		h := s.Handler()
		if resp := ask(h, "POST", partLog, "hello"); resp.StatusCode != 405 || resp.Header.Get("Allow") == "" {
			t.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
		resp := ask(h, "POST", partLog, "", "Upload-Complete: ?0")
		if want := map[bool]int{true: 201, false: 405}[offered]; resp.StatusCode != want {
			t.Errorf("offered %v: %d", offered, resp.StatusCode)
		}
		if resp := ask(h, "OPTIONS", partLog, ""); (resp.Header.Get("Accept-Patch") != "") != offered {
			t.Errorf("offered %v: %v", offered, resp.Header)
		}
	}
}

func TestKindAndNameAreJudgedAtCreation(t *testing.T) {
	s := newSite(t)
	s.resuming(t, resumable.Options{})
	h := s.Handler()
	for _, tt := range []struct {
		path, header string
		status       int
	}{
		{"/ManageSoftRL/Logs/a.exe", "X: y", 415}, {"/ManageSoftRL/Nonsense/a.log", "X: y", 415}, {"/ManageSoftRL/Logs/CON.log", "X: y", 400},
		{partLog, "Content-Encoding: gzip", 415}, {partLog, "Beacon-Via: beacon-1", 508}, {partLog, "Repr-Digest: sha-256=no", 400},
	} {
		if resp := ask(h, "POST", tt.path, "", "Upload-Complete: ?0", tt.header); resp.StatusCode != tt.status || resp.Header.Get("Location") != "" {
			t.Errorf("%s %s: %d", tt.path, tt.header, resp.StatusCode)
		}
	}
	s.Drain()
	if resp := ask(h, "POST", partLog, "", "Upload-Complete: ?0"); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("while stopping: %d", resp.StatusCode)
	}
}

// What was allowed when an upload began is judged again when it is complete.
func TestKindIsJudgedAgainAtCompletion(t *testing.T) {
	s := newSite(t)
	s.resuming(t, resumable.Options{})
	h := s.Handler()
	at := begin(t, h)
	sends(h, at, 0, "?0", "hello")
	logs, _ := s.Kinds.ByFolder("Logs")
	logs.MaxBytes = 4
	s.Kinds.Set(logs)
	resp := sends(h, at, 5, "?1", "")
	if got := code(t, resp); resp.StatusCode != 413 || got != "too-large" || resp.Header.Get("Upload-Complete") != "?1" {
		t.Errorf("%d %q", resp.StatusCode, got)
	}
	if resp := ask(h, "HEAD", at, ""); resp.StatusCode != 410 {
		t.Errorf("afterwards: %d", resp.StatusCode)
	}
}

// A spool that cannot store the whole now leaves it where it is.
func TestCompletionThatFailsIsTriedAgain(t *testing.T) {
	s := newSite(t)
	s.resuming(t, resumable.Options{})
	h := s.Handler()
	at := begin(t, h)
	s.spool.err = uploads.ErrFull
	resp := sends(h, at, 0, "?1", "hello")
	wantState(t, resp, 507, "5", "?0")
	if resp.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	s.spool.err = nil
	if r := receiptOf(t, sends(h, at, 5, "?1", "")); r.Bytes != 5 || r.Duplicate {
		t.Errorf("%+v", r)
	}
}

func TestFullStoreSendsAway(t *testing.T) {
	s := newSite(t)
	s.resuming(t, resumable.Options{Files: 1})
	h := s.Handler()
	begin(t, h)
	resp := ask(h, "POST", "/ManageSoftRL/Logs/b.log", "", "Upload-Complete: ?0")
	if got := code(t, resp); resp.StatusCode != 507 || got != "spool-full" || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %q %v", resp.StatusCode, got, resp.Header)
	}
}

// A relaying beacon brings the large files of all its devices, and so may an
// address of files without a device; one device has a share of its own.
func TestShareOfUnfinishedUploads(t *testing.T) {
	for what, tt := range map[string]struct {
		name    string // by number
		headers []string
		most    int
	}{
		"a relaying beacon": {"pc%d at 20260101T000000.log", []string{"Beacon-Via: child"}, 100},
		"an address":        {"%d.log", nil, 100},
		"a device":          {"pc1 at 20260101T000%03d.log", nil, 32},
	} {
		t.Run(what, func(t *testing.T) {
			s := newSite(t)
			s.resuming(t, resumable.Options{Device: resumable.Share{Files: 32}, Child: resumable.Share{Files: 100}})
			h := s.Handler()
			for i := range tt.most + 1 {
				want := 201
				if i == tt.most {
					want = 507
				}
				at := "/ManageSoftRL/Logs/" + url.PathEscape(fmt.Sprintf(tt.name, i))
				if resp := ask(h, "POST", at, "", append(tt.headers, "Upload-Complete: ?0", "Upload-Length: 1000000")...); resp.StatusCode != want {
					t.Fatalf("file %d: %s, want %d", i, resp.Status, want)
				}
			}
		})
	}
}

// Who asks for the digest of a file that is half here is told where to go on; who
// has another source is not.
func TestUnfinishedUploadIsFound(t *testing.T) {
	s := newSite(t)
	s.resuming(t, resumable.Options{})
	h := s.Handler()
	sum := uploads.DigestOf([]byte("hello"))
	at := begin(t, h, "Repr-Digest: "+hop.FormatDigest(sum))
	sends(h, at, 0, "?0", "hel")
	resp := ask(h, "HEAD", partLog+"?sha256="+sum.String(), "")
	if resp.StatusCode != 404 || resp.Header.Get("Location") != at {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	for _, other := range []*http.Response{
		ask(h, "HEAD", partLog+"?sha256="+uploads.DigestOf([]byte("other")).String(), ""),
		ask(h, "HEAD", partLog, ""),
		ask(h, "HEAD", partLog+"?sha256="+sum.String(), "", "Beacon-Via: elsewhere"),
	} {
		if other.StatusCode != 404 || other.Header.Get("Location") != "" {
			t.Errorf("%d %v", other.StatusCode, other.Header)
		}
	}
}

func newRequest(method, at string, body io.Reader, headers ...string) *http.Request {
	r, _ := http.NewRequest(method, "http://beacon.example"+at, body)
	r.RemoteAddr = "192.0.2.1:1234"
	for _, line := range headers {
		k, v, _ := strings.Cut(line, ": ")
		r.Header.Add(k, v)
	}
	return r
}

func serve(h http.Handler, r *http.Request) *http.Response {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec.Result()
}
