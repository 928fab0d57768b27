//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"inventorybeacon/cmd/internal/powercut/cutdisk"
	"inventorybeacon/uploads"
)

// A role is a program in its place: an agent below a beacon below its parent.
type role string

const (
	beacon role = "beacon"
	parent role = "parent"
	agent  role = "agent"
)

var allRoles = []role{beacon, parent, agent}

// A claim is a file that somebody was promised, from a tick on.
type claim struct {
	Kind   string
	Name   string
	SHA256 uploads.Digest
	Tick   uint64
}

// A ledger is what was promised, in the order of ticks.
type ledger struct {
	clock *cutdisk.Clock

	mu     sync.Mutex
	claims map[role][]claim
	known  map[role]map[uploads.Digest]bool
	// What else the beacon promised.
	revisions []publication
	parts     []part
}

func newLedger(c *cutdisk.Clock) *ledger {
	l := &ledger{clock: c, claims: map[role][]claim{}, known: map[role]map[uploads.Digest]bool{}}
	for _, r := range allRoles {
		l.known[r] = map[uploads.Digest]bool{}
	}
	return l
}

// note takes down that r has promised, by now, to keep a file.
func (l *ledger) note(r role, c claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known[r][c.SHA256] {
		return
	}
	l.known[r][c.SHA256] = true
	c.Tick = l.clock.Tick()
	l.claims[r] = append(l.claims[r], c)
}

// published takes down that the beacon has a revision in force.
func (l *ledger) published(number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revisions = append(l.revisions, publication{number, l.clock.Tick()})
}

// notePart takes down that the beacon has the beginning of a file.
func (l *ledger) notePart(p part) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.Tick = l.clock.Tick()
	l.parts = append(l.parts, p)
}

// until returns what was promised up to a tick.
func (l *ledger) until(tick uint64) map[role][]claim {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[role][]claim{}
	for r, claims := range l.claims {
		out[r] = slices.Clone(until(claims, tick))
	}
	return out
}

func (l *ledger) count(r role) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.claims[r])
}

// A door is the only way to a beacon. What the beacon acknowledges is noted
// when it passes.
type door struct {
	role   role
	ledger *ledger
	inner  atomic.Pointer[url.URL] // where the beacon is at the moment
	proxy  httputil.ReverseProxy
}

func newDoor(r role, l *ledger, transport http.RoundTripper) *door {
	d := &door{role: r, ledger: l}
	d.proxy = httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(d.inner.Load())
			p.Out.Host = ""
		},
		ModifyResponse: d.observe,
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	return d
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.inner.Load() == nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	d.proxy.ServeHTTP(w, r)
}

// observe reads a receipt on its way to whoever relies on it from here on.
func (d *door) observe(resp *http.Response) error {
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated || resp.Request.Method == http.MethodGet {
		return nil
	}
	if resp.Request.Method == http.MethodHead {
		return d.observeHead(resp)
	}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		return nil
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(text))
	var r uploads.Receipt
	if json.Unmarshal(text, &r) == nil && r.ID != "" {
		d.ledger.note(d.role, claim{Kind: r.Kind, Name: r.Name, SHA256: r.SHA256})
	}
	return nil
}

// observeHead notes the word that a file is there, which a sender relies on
// that did not hear the answer before.
func (d *door) observeHead(resp *http.Response) error {
	segments := strings.Split(resp.Request.URL.Path, "/")
	digest, err := uploads.ParseDigest(resp.Request.URL.Query().Get("sha256"))
	if err != nil || len(segments) < 2 {
		return nil //nolint:nilerr // it was asked about a name alone
	}
	d.ledger.note(d.role, claim{Kind: segments[len(segments)-2], Name: segments[len(segments)-1], SHA256: digest})
	return nil
}
