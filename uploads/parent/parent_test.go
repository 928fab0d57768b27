package parent_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent"
	"inventorybeacon/uploads/parent/hop"
	"inventorybeacon/uploads/parent/problem"
	"inventorybeacon/uploads/uploadstest"
)

func newSink(t *testing.T, roots ...string) *parent.Sink {
	t.Helper()
	transport := parent.NewTransport()
	t.Cleanup(transport.CloseIdleConnections)
	var at parent.Fixed
	for i, root := range roots {
		at = append(at, parent.Location{Name: fmt.Sprintf("b%d", i), Root: root + "/ManageSoftRL"})
	}
	return &parent.Sink{
		Client:    &parent.Client{HTTP: &http.Client{Transport: transport}, Identity: "child", Limits: uploadstest.Limits},
		Locations: at,
	}
}

func one(t *testing.T, s *parent.Sink, p uploads.Parcel) uploads.Delivery {
	t.Helper()
	return s.Deliver(t.Context(), []uploads.Parcel{p})[0]
}

func sample(t *testing.T) uploads.Parcel {
	return uploadstest.Parcel(t, "Inventories", "PC1 at 20261122T093000.ndi.gz", uploadstest.Noise(5000, 1))
}

func TestSinkConforms(t *testing.T) {
	uploadstest.TestSink(t, func(t *testing.T) *uploadstest.Destination {
		srv := newServer(t)
		proxy := uploadstest.NewProxy(t, "tcp", srv.Listener.Addr().String())
		return &uploadstest.Destination{
			Proxy: proxy, Level: uploads.LevelParent, Held: srv.holdings,
			Open: func(t *testing.T) uploads.Sink { return newSink(t, "http://"+proxy.Addr) },
			Plant: func(t *testing.T, u uploads.Upload, data []byte) {
				p := uploadstest.Parcel(t, u.Kind, u.Name.String(), data)
				if d := one(t, newSink(t, srv.URL), p); d.Err != nil {
					t.Fatal(d.Err)
				}
			},
			Break: func(t *testing.T) func() {
				srv.refuseWith(func(w http.ResponseWriter, _ *http.Request) bool {
					answer(w, problem.Internal, 500)
					return true
				})
				return func() { srv.refuseWith(nil) }
			},
		}
	})
}

func TestSinkJudgesAnswers(t *testing.T) {
	for _, tt := range []struct {
		status int
		code   problem.Code
		want   error // nil: try again
	}{
		{400, problem.BadName, uploads.ErrRefused},
		{400, problem.BadRequest, uploads.ErrRefused},
		{401, problem.Unauthenticated, nil},
		{403, problem.Forbidden, uploads.ErrRefused},
		{404, problem.NotFound, nil},
		{405, problem.MethodNotAllowed, nil},
		{408, problem.Stalled, nil},
		{411, problem.LengthRequired, uploads.ErrRefused},
		{413, problem.TooLarge, uploads.ErrRefused},
		{415, problem.BadKind, uploads.ErrRefused},
		{416, problem.BadRange, uploads.ErrRefused},
		{422, problem.BadContent, uploads.ErrRefused},
		{422, problem.DigestMismatch, uploads.ErrDigest},
		{429, problem.Busy, nil},
		{500, problem.Internal, nil},
		{503, problem.Busy, nil},
		{507, problem.SpoolFull, nil},
		{508, problem.Loop, uploads.ErrLoop},
		{400, "made-up", nil},
		{418, problem.BadName, nil}, // a code under a status it does not go with
	} {
		t.Run(fmt.Sprintf("%d %s", tt.status, tt.code), func(t *testing.T) {
			srv := newServer(t)
			srv.refuseWith(func(w http.ResponseWriter, _ *http.Request) bool {
				answer(w, tt.code, tt.status)
				return true
			})
			err := one(t, newSink(t, srv.URL), sample(t)).Err
			if err == nil {
				t.Fatal("delivered")
			}
			for _, verdict := range []error{uploads.ErrRefused, uploads.ErrDigest, uploads.ErrLoop} {
				if errors.Is(err, verdict) != (tt.want == verdict) {
					t.Errorf("%v: matches %q: %v", err, verdict, errors.Is(err, verdict))
				}
			}
		})
	}
}

func TestSinkHonoursRetryAfter(t *testing.T) {
	for name, tt := range map[string]struct {
		header string
		want   time.Duration
	}{
		"seconds":     {"17", 17 * time.Second},
		"date":        {time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), time.Hour},
		"past date":   {time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), 0},
		"for ever":    {"2000000000", 24 * time.Hour},
		"not a delay": {"soon", -1},
	} {
		t.Run(name, func(t *testing.T) {
			srv := newServer(t)
			srv.refuseWith(func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Retry-After", tt.header)
				answer(w, problem.Busy, 503)
				return true
			})
			got := time.Duration(-1)
			if retry, ok := errors.AsType[*uploads.RetryError](one(t, newSink(t, srv.URL), sample(t)).Err); ok {
				got = retry.After
			}
			if got > tt.want || got < tt.want-time.Minute {
				t.Errorf("retry after %v, want %v", got, tt.want)
			}
		})
	}
}

func TestSinkTellsWhereTheFileComesFrom(t *testing.T) {
	srv := newServer(t)
	s := newSink(t, srv.URL)
	s.Client.Header = func(h http.Header) { h.Set("Beacon-Agent", `id="a1"`) }
	p := sample(t)
	p.Device, p.Via, p.Recovered = uploads.Device{Domain: "BÜRO", Name: "PC1"}, []string{"grand child"}, true
	if d := one(t, s, p); d.Err != nil {
		t.Fatal(d.Err)
	}
	h := srv.header()
	for name, want := range map[string]string{
		"Repr-Digest": hop.FormatDigest(p.Digest), "Beacon-Via": "grand%20child, child", "Beacon-Agent": `id="a1"`,
		"Beacon-Upload": `domain=%"B%c3%9cRO", device="PC1", agent="a1", modified=@1795339740, recovered`,
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
	}
	if len(p.Via) != 1 {
		t.Errorf("Via became %q", p.Via)
	}
}

func TestSinkFindsLoop(t *testing.T) {
	srv := newServer(t)
	for via, want := range map[string]error{"centre": uploads.ErrLoop, "elsewhere": nil} {
		p := sample(t)
		p.Via = []string{via}
		if err := one(t, newSink(t, srv.URL), p).Err; !errors.Is(err, want) {
			t.Errorf("via %s: %v, want %v", via, err, want)
		}
	}
}

// A body whose answer was lost costs a question, not a second body.
func TestSinkAsksBeforeItSendsAgain(t *testing.T) {
	srv := newServer(t)
	proxy := uploadstest.NewProxy(t, "tcp", srv.Listener.Addr().String())
	s := newSink(t, "http://"+proxy.Addr)
	p := sample(t)
	proxy.Set(uploadstest.Fault{CutAnswer: true})
	if d := one(t, s, p); d.Err == nil {
		t.Fatal("delivered without an answer")
	}
	proxy.Set(uploadstest.Fault{})
	d := one(t, s, p)
	if d.Err != nil || len(d.Custody) != 1 || d.Custody[0].Level != uploads.LevelParent {
		t.Fatalf("second attempt: %+v", d)
	}
	if puts, heads := srv.counts(); puts != 1 || heads != 1 {
		t.Errorf("%d bodies, %d questions; want one of each", puts, heads)
	}
}

func TestSinkFollowsNoRedirect(t *testing.T) {
	var followed atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	defer elsewhere.Close()
	srv := newServer(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		srv.refuseWith(func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, elsewhere.URL+r.URL.Path, status)
			return true
		})
		if d := one(t, newSink(t, srv.URL), sample(t)); d.Err == nil || errors.Is(d.Err, uploads.ErrRefused) {
			t.Errorf("%d: %v, want a failure that is tried again", status, d.Err)
		}
	}
	if n := followed.Load(); n > 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

// Only a receipt for these very bytes under this name counts.
func TestSinkBelievesOnlyItsReceipt(t *testing.T) {
	p := sample(t)
	right := p.Receipt()
	for name, change := range map[string]func(*uploads.Receipt){
		"other digest": func(r *uploads.Receipt) { r.SHA256[0] ^= 1 },
		"other id":     func(r *uploads.Receipt) { r.ID = "x" },
		"other name":   func(r *uploads.Receipt) { r.Name = "x" },
		"the right one": func(r *uploads.Receipt) {
			r.Name = "pc1 AT 20261122T093000.ndi.gz" // names compare without case
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := right
			change(&r)
			srv := newServer(t)
			srv.refuseWith(func(w http.ResponseWriter, _ *http.Request) bool { return writeJSON(w, r) })
			err := one(t, newSink(t, srv.URL), p).Err
			if (err == nil) != (name == "the right one") || errors.Is(err, uploads.ErrRefused) {
				t.Errorf("Deliver: %v", err)
			}
		})
	}
}

// locator is a Locator that remembers what it is told.
type locator struct {
	parent.Fixed
	mu      sync.Mutex
	reports []string
}

func (l *locator) Report(at parent.Location, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reports = append(l.reports, fmt.Sprintf("%s ok=%v", at.Name, err == nil))
}

func TestSinkWalksLocations(t *testing.T) {
	type reply struct {
		code       problem.Code
		status     int
		retryAfter string
	}
	ok := reply{}
	for name, tt := range map[string]struct {
		replies []reply
		reports []string
		err     error // nil: delivered
		after   time.Duration
	}{
		"first takes it":        {[]reply{ok, ok}, []string{"b0 ok=true"}, nil, 0},
		"first fails":           {[]reply{{problem.Internal, 500, ""}, ok}, []string{"b0 ok=false", "b1 ok=true"}, nil, 0},
		"first is full":         {[]reply{{problem.SpoolFull, 507, "60"}, ok}, []string{"b0 ok=false", "b1 ok=true"}, nil, 0},
		"first refuses":         {[]reply{{problem.BadKind, 415, ""}, ok}, []string{"b0 ok=true"}, uploads.ErrRefused, 0},
		"first says slow down":  {[]reply{{problem.Busy, 429, "60"}, ok}, []string{"b0 ok=false"}, errAny, time.Minute},
		"all ask to come back":  {[]reply{{problem.Busy, 503, "60"}, {problem.Busy, 503, "30"}}, []string{"b0 ok=false", "b1 ok=false"}, errAny, 30 * time.Second},
		"one just fails":        {[]reply{{problem.Busy, 503, "60"}, {problem.Internal, 500, ""}}, []string{"b0 ok=false", "b1 ok=false"}, errAny, 0},
		"nowhere to send it to": {nil, nil, parent.ErrNowhere, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var roots []string
			for _, r := range tt.replies {
				srv := newServer(t)
				if r != ok {
					srv.refuseWith(func(w http.ResponseWriter, _ *http.Request) bool {
						if r.retryAfter != "" {
							w.Header().Set("Retry-After", r.retryAfter)
						}
						answer(w, r.code, r.status)
						return true
					})
				}
				roots = append(roots, srv.URL)
			}
			s := newSink(t, roots...)
			l := &locator{Fixed: s.Locations.(parent.Fixed)}
			s.Locations = l
			err := one(t, s, sample(t)).Err
			if (err == nil) != (tt.err == nil) || tt.err != nil && tt.err != errAny && !errors.Is(err, tt.err) {
				t.Errorf("Deliver: %v, want %v", err, tt.err)
			}
			var after time.Duration
			if retry, ok := errors.AsType[*uploads.RetryError](err); ok {
				after = retry.After
			}
			if after != tt.after {
				t.Errorf("retry after %v, want %v", after, tt.after)
			}
			if !slices.Equal(l.reports, tt.reports) {
				t.Errorf("reports %q, want %q", l.reports, tt.reports)
			}
		})
	}
}

var errAny = errors.New("any failure")

// The level at which a location's own custody counts depends on who asks.
func TestSinkCountsCustody(t *testing.T) {
	srv := newServer(t)
	for level, want := range map[string]string{"": uploads.LevelParent, uploads.LevelBeacon: uploads.LevelBeacon} {
		s := newSink(t, srv.URL)
		s.Level = level
		d := one(t, s, sample(t))
		if d.Err != nil || len(d.Custody) != 1 || d.Custody[0].Level != want || d.Custody[0].Beacon != "centre" {
			t.Errorf("level %q: %+v, want %q", level, d, want)
		}
	}
}

// The root may be deep, and every character that means something elsewhere is
// percent-encoded.
func TestClientEncodesPaths(t *testing.T) {
	var path string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { path = r.RequestURI }))
	defer srv.Close()
	u := uploadstest.Upload(t, "Inventories", "a+b ü,@ (x).ndi", []byte("x"))
	_, err := new(parent.Client).Put(t.Context(), parent.Location{Root: srv.URL + "/deep/ManageSoftRL/"}, u,
		func() (uploads.Body, error) { return uploadstest.Body([]byte("x")), nil })
	if err == nil {
		t.Error("an empty answer counts as a receipt")
	}
	if want := "/deep/ManageSoftRL/Inventories/a%2Bb%20%C3%BC%2C@%20%28x%29.ndi"; path != want {
		t.Errorf("path %s, want %s", path, want)
	}
}
