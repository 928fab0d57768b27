package parent_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent/hop"
	"inventorybeacon/uploads/parent/problem"
	"inventorybeacon/uploads/uploadstest"
)

// A server is a small honest beacon: it answers an upload only when it has all
// of it, by the same rules as the real one, and keeps it in memory.
type server struct {
	*httptest.Server
	identity string

	mu    sync.Mutex
	held  map[string]file // by receipt
	puts  int             // bodies read to their end
	heads int
	seen  http.Header // of the latest PUT
	// refuse, if set, may answer a PUT in place of the server.
	refuse func(w http.ResponseWriter, r *http.Request) bool
}

type file struct {
	kind   string
	name   uploads.Name
	digest uploads.Digest
	size   int64
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{identity: "centre", held: map[string]file{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind, name, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/ManageSoftRL/"), "/")
	n, err := uploads.ParseName(name)
	if !ok || err != nil {
		answer(w, problem.BadName, 400)
		return
	}
	switch r.Method {
	case http.MethodPut:
		s.put(w, r, kind, n)
	case http.MethodHead:
		s.head(w, r, kind, n)
	default:
		answer(w, problem.MethodNotAllowed, 405)
	}
}

func (s *server) put(w http.ResponseWriter, r *http.Request, kind string, n uploads.Name) {
	s.mu.Lock()
	s.seen = r.Header.Clone()
	refuse := s.refuse
	s.mu.Unlock()
	if refuse != nil && refuse(w, r) {
		return
	}
	via, err := hop.ParseVia(r.Header.Values(hop.ViaHeader))
	if err != nil || hop.Looped(via, s.identity) {
		answer(w, problem.Loop, 508)
		return
	}
	h := sha256.New()
	size, err := io.Copy(h, r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puts++
	d := uploads.Digest(h.Sum(nil))
	if want, ok, _ := hop.ParseDigest(r.Header.Values(hop.DigestHeader)); ok && want != d {
		answer(w, problem.DigestMismatch, 422)
		return
	}
	id := uploads.ReceiptID(kind, n, d)
	_, duplicate := s.held[id]
	s.held[id] = file{kind, n, d, size}
	at := time.Now().UTC()
	json.NewEncoder(w).Encode(uploads.Receipt{
		ID: id, Kind: kind, Name: n.String(), SHA256: d, Bytes: size, Received: at, Beacon: s.identity, Duplicate: duplicate,
		Custody: []uploads.Custody{{Level: uploads.LevelBeacon, Beacon: s.identity, At: at}},
	})
}

func (s *server) head(w http.ResponseWriter, r *http.Request, kind string, n uploads.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heads++
	d, err := uploads.ParseDigest(r.URL.Query().Get("sha256"))
	if _, held := s.held[uploads.ReceiptID(kind, n, d)]; err != nil || !held {
		answer(w, problem.NotFound, 404)
		return
	}
	w.Header().Set(hop.DigestHeader, hop.FormatDigest(d))
}

func answer(w http.ResponseWriter, code problem.Code, status int) {
	w.Header().Set("Content-Type", problem.MediaType)
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"type":"about:blank","title":"no","status":%d,"code":%q}`, status, code)
}

// counts returns how many bodies and questions arrived.
func (s *server) counts() (puts, heads int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.puts, s.heads
}

func (s *server) header() http.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

func (s *server) refuseWith(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = f
}

func (s *server) holdings(*testing.T) (out []uploadstest.Holding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.held {
		out = append(out, uploadstest.Holding{Kind: f.kind, Digest: f.digest})
	}
	return out
}

// writeJSON answers with v, and reports that it did.
func writeJSON(w http.ResponseWriter, v any) bool {
	json.NewEncoder(w).Encode(v)
	return true
}
