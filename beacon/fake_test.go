package beacon_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"inventorybeacon/beacon"
	"inventorybeacon/beacon/comeback"
	"inventorybeacon/policy"
	"inventorybeacon/policy/revision"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
	"inventorybeacon/uploads/spool"
)

var published = time.Date(2026, 11, 20, 8, 30, 0, 0, time.UTC)

func object(body string) *revision.Object {
	sum := sha256.Sum256([]byte(body))
	return &revision.Object{
		Content:  &revision.Content{Digest: sum, ETag: `"` + hex.EncodeToString(sum[:16]) + `"`, Size: int64(len(body)), Body: []byte(body)},
		Modified: published, ContentType: "application/xml",
	}
}

// coded adds variants that are smaller than the body, as variants are.
func coded(o *revision.Object) *revision.Object {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(o.Body)
	z.Close()
	variant := func(b []byte) *revision.Variant {
		sum := sha256.Sum256(b)
		return &revision.Variant{Body: b, Digest: sum, ETag: `"` + hex.EncodeToString(sum[:16]) + `"`}
	}
	o.Gzip = variant(b.Bytes())
	o.Zstd = variant([]byte("zstd would be here"))
	return o
}

// A snapshot is what is published.
type snapshot struct {
	files  map[string]*revision.Object // lower-case path
	policy func(policy.Query) (*revision.Object, error)
}

func (s *snapshot) File(path string) (*revision.Object, error) {
	if o, ok := s.files[strings.ToLower(path)]; ok {
		return o, nil
	}
	return nil, policy.ErrNoFile
}

func (s *snapshot) Policy(q policy.Query) (*revision.Object, error) {
	if s.policy == nil {
		return nil, policy.ErrNone
	}
	return s.policy(q)
}

// A memory keeps uploads, in the order in which they came.
type memory struct {
	mu     sync.Mutex
	drafts []spool.Draft
	bodies []string
	err    error         // what Accept fails with
	hold   chan struct{} // Accept waits for it, if it is not nil
}

func (m *memory) Accept(ctx context.Context, d spool.Draft, body io.Reader) (uploads.Receipt, error) {
	if d.MaxBytes > 0 {
		body = io.LimitReader(body, d.MaxBytes+1)
	}
	b, err := io.ReadAll(body)
	sum := uploads.DigestOf(b)
	switch {
	case err != nil:
		return uploads.Receipt{}, err
	case d.MaxBytes > 0 && int64(len(b)) > d.MaxBytes:
		return uploads.Receipt{}, uploads.ErrTooLarge
	case d.Want != nil && *d.Want != sum:
		return uploads.Receipt{}, uploads.ErrDigest
	case m.err != nil:
		return uploads.Receipt{}, m.err
	}
	if m.hold != nil {
		<-m.hold
	}
	held, ok := m.FindExact(d.Kind, d.Name, sum)
	if ok {
		held.Duplicate = true
		return held, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drafts, m.bodies = append(m.drafts, d), append(m.bodies, string(b))
	return receipt(d, b), nil
}

func receipt(d spool.Draft, b []byte) uploads.Receipt {
	return uploads.Upload{Kind: d.Kind, Name: d.Name, Device: d.Device, Digest: uploads.DigestOf(b), Size: int64(len(b)), Received: published, Beacon: "beacon-1"}.Receipt()
}

func (m *memory) find(fits func(spool.Draft, string) bool) (uploads.Receipt, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, d := range slices.Backward(m.drafts) {
		if fits(d, m.bodies[i]) {
			return receipt(d, []byte(m.bodies[i])), true
		}
	}
	return uploads.Receipt{}, false
}

func (m *memory) Find(kind string, name uploads.Name) (uploads.Receipt, bool) {
	return m.find(func(d spool.Draft, _ string) bool { return d.Kind == kind && d.Name.Key() == name.Key() })
}

func (m *memory) FindExact(kind string, name uploads.Name, sum uploads.Digest) (uploads.Receipt, bool) {
	return m.find(func(d spool.Draft, b string) bool {
		return d.Kind == kind && d.Name.Key() == name.Key() && uploads.DigestOf([]byte(b)) == sum
	})
}

func (m *memory) last(t *testing.T) (spool.Draft, string) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.drafts) == 0 {
		t.Fatal("nothing was accepted")
	}
	return m.drafts[len(m.drafts)-1], m.bodies[len(m.bodies)-1]
}

// A site is Agents with fakes behind it.
type site struct {
	*beacon.Agents
	spool    *memory
	snapshot *snapshot
	mu       sync.Mutex
	seen     []catalogue.Sighting
	full     bool
	pressed  bool
}

func newSite(t testing.TB) *site {
	kinds := uploads.DefaultKinds()
	logs, _ := kinds.ByFolder("Logs")
	logs.MaxBytes = 1 << 20
	kinds.Set(logs)
	s := &site{spool: &memory{}, snapshot: &snapshot{files: map[string]*revision.Object{}}}
	s.Agents = &beacon.Agents{
		Name: "beacon-1", Download: "ManageSoftDL", Upload: "ManageSoftRL",
		Policies: func() beacon.Snapshot { return s.snapshot },
		Spool:    s.spool, Kinds: kinds,
		Room: func(comeback.Class, int64) error {
			if s.full {
				return uploads.ErrFull
			}
			return nil
		},
		Pressed:  func() bool { return s.pressed },
		Seen:     func(c catalogue.Sighting) { s.mu.Lock(); s.seen = append(s.seen, c); s.mu.Unlock() },
		InFlight: 64, Idle: 30 * time.Second,
		Metrics: beacon.NewMetrics(), Log: slog.New(slog.DiscardHandler),
	}
	return s
}

func (s *site) lastSeen(t *testing.T) catalogue.Sighting {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) == 0 {
		t.Fatal("nothing was seen")
	}
	return s.seen[len(s.seen)-1]
}

// ask sends one request, whose headers are given as "Name: value".
func ask(h http.Handler, method, target, body string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for _, line := range headers {
		k, v, _ := strings.Cut(line, ": ")
		r.Header.Add(k, v)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec.Result()
}

// code returns the code of a problem document, "" for any other answer.
func code(t *testing.T, resp *http.Response) string {
	t.Helper()
	if resp.Header.Get("Content-Type") != "application/problem+json" {
		return ""
	}
	var doc struct {
		Type, Title, Detail, Code string
		Status                    int
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, json.Unmarshal(b, &doc)); err != nil {
		t.Fatalf("problem document %q: %v", b, err)
	}
	if doc.Status != resp.StatusCode || doc.Title == "" || doc.Type == "" || doc.Detail == "" {
		t.Errorf("problem document %s under status %d", b, resp.StatusCode)
	}
	return doc.Code
}

func text(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var anyone = netip.MustParseAddr("192.0.2.1") // what httptest says requests come from

// lookingAt returns Policies that note every path that is looked up.
func (s *site) lookingAt(paths *[]string) func() beacon.Snapshot {
	noting := &notingSnapshot{s.snapshot, paths}
	return func() beacon.Snapshot { return noting }
}

type notingSnapshot struct {
	*snapshot
	paths *[]string
}

func (n *notingSnapshot) File(path string) (*revision.Object, error) {
	*n.paths = append(*n.paths, path)
	return n.snapshot.File(path)
}

// runs serves the site as the beacon does, on a real socket, until the test ends.
func (s *site) runs(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	return ln.Addr().String()
}
