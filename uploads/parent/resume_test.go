package parent_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent"
	"inventorybeacon/uploads/parent/problem"
	"inventorybeacon/uploads/resumable/partial"
	"inventorybeacon/uploads/uploadstest"
)

// A partsServer is a server that takes one upload in parts, too.
type partsServer struct {
	*server
	// meddle, if set, may answer a request in place of the server.
	meddle func(w http.ResponseWriter, r *http.Request) bool

	mu    sync.Mutex
	begun *http.Request // that created the upload; nil: none
	got   []byte
	done  bool
	calls []string // method and how much it brought
}

func newPartsServer(t *testing.T) (*partsServer, *httptest.Server) {
	t.Helper()
	s := &partsServer{server: newServer(t)}
	front := httptest.NewServer(s)
	t.Cleanup(front.Close)
	return s, front
}

const partsID = "abcdefghijklmnopqrstuvwxyz"

func (s *partsServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.meddle != nil && s.meddle(w, r) {
		return
	}
	at := "/ManageSoftRL/.resumable/" + partsID
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.URL.Path == at && s.begun == nil:
		answer(w, problem.Gone, 410)
	case r.URL.Path == at && r.Method == http.MethodHead:
		s.state(w, 204)
	case r.URL.Path == at:
		s.patch(w, r)
	case r.Method == http.MethodPost && r.Header.Get(partial.Complete) == "?0":
		s.begun, s.got = r, nil
		w.Header().Set("Location", at)
		s.state(w, 201)
	case r.Method == http.MethodHead && s.begun != nil && !s.done:
		w.Header().Set("Location", at)
		w.WriteHeader(404)
	default:
		s.calls = append(s.calls, r.Method)
		s.server.ServeHTTP(w, r)
	}
}

func (s *partsServer) state(w http.ResponseWriter, status int) {
	w.Header().Set(partial.Offset, fmt.Sprint(len(s.got)))
	w.Header().Set(partial.Complete, partial.FormatBool(s.done))
	w.WriteHeader(status)
}

func (s *partsServer) patch(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Content-Type") != partial.MediaType {
		answer(w, problem.BadKind, 415)
		return
	}
	if r.Header.Get(partial.Offset) != fmt.Sprint(len(s.got)) {
		s.state(w, 409)
		return
	}
	b, err := io.ReadAll(r.Body)
	s.got = append(s.got, b...)
	s.calls = append(s.calls, fmt.Sprint("PATCH ", len(b)))
	if err != nil {
		return
	}
	if r.Header.Get(partial.Complete) != "?1" {
		s.state(w, 204)
		return
	}
	s.done = true
	whole := s.begun.Clone(r.Context())
	whole.Method, whole.Body = http.MethodPut, io.NopCloser(bytes.NewReader(s.got))
	s.server.ServeHTTP(w, whole)
}

func resuming(t *testing.T, root string) *parent.Sink {
	t.Helper()
	s := newSink(t, root)
	s.Client.Resume = &parent.Resuming{Threshold: 1 << 20}
	return s
}

func large(t *testing.T) uploads.Parcel {
	return uploadstest.Parcel(t, "Logs", "PC1 at 20261122T093000.log", uploadstest.Noise(3<<20, 1))
}

func TestLargeFileGoesInParts(t *testing.T) {
	s, front := newPartsServer(t)
	sink := resuming(t, front.URL)
	if d := one(t, sink, large(t)); d.Err != nil || len(d.Custody) == 0 {
		t.Fatal(d.Err)
	}
	if got := strings.Join(s.calls, ", "); got != "HEAD, PATCH 3145728" {
		t.Errorf("%s", got)
	}
	if h := s.begun.Header; h.Get("Repr-Digest") == "" || h.Get(partial.Length) != "3145728" || h.Get("Beacon-Via") == "" || h.Get("Expect") != "" {
		t.Errorf("%v", h)
	}
	if d := one(t, sink, sample(t)); d.Err != nil || s.calls[len(s.calls)-1] != "PUT" {
		t.Errorf("a small file: %v %v", d.Err, s.calls)
	}
}

// Somebody in between who takes no large requests gets small ones, also of files
// below the threshold.
func TestBare413MeansSmallParts(t *testing.T) {
	s, front := newPartsServer(t)
	s.meddle = func(w http.ResponseWriter, r *http.Request) bool {
		if r.ContentLength > 600<<10 {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return true
		}
		return false
	}
	sink := resuming(t, front.URL)
	sink.Client.Resume.Threshold = 1 << 30
	if d := one(t, sink, large(t)); d.Err != nil {
		t.Fatal(d.Err)
	}
	want := "HEAD" + strings.Repeat(", PATCH 524288", 6)
	if got := strings.Join(s.calls, ", "); got != want {
		t.Errorf("%s", got)
	}
	s.calls, s.begun, s.done = nil, nil, false
	p := uploadstest.Parcel(t, "Logs", "PC1 at 20261122T093001.log", uploadstest.Noise(1<<20, 2))
	if d := one(t, sink, p); d.Err != nil || strings.Join(s.calls, ", ") != "HEAD, PATCH 524288, PATCH 524288" {
		t.Errorf("the next file: %v %v", d.Err, s.calls)
	}
}

// Where parts are not known, the file goes whole, and that is remembered.
func TestUnknownPartsMeanAPlainPut(t *testing.T) {
	bare := func(status int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.WriteHeader(status) }
	}
	for name, say := range map[string]func(http.ResponseWriter){
		"400": bare(400), "404": bare(404), "405": bare(405), "415": bare(415), "501": bare(501),
		"a beacon without parts": func(w http.ResponseWriter) { answer(w, problem.MethodNotAllowed, 405) },
	} {
		t.Run(name, func(t *testing.T) {
			s, front := newPartsServer(t)
			posts := 0
			s.meddle = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPost {
					posts++
					say(w)
				}
				return r.Method == http.MethodPost
			}
			sink := resuming(t, front.URL)
			for range 2 {
				if d := one(t, sink, large(t)); d.Err != nil {
					t.Fatal(d.Err)
				}
			}
			if posts != 1 || s.calls[len(s.calls)-1] != "PUT" {
				t.Errorf("%d attempts; %v", posts, s.calls)
			}
		})
	}
}

// A proxy that drops what it does not know makes no half file: the file goes whole.
func TestDroppedFieldsMeanAPlainPut(t *testing.T) {
	for name, meddle := range map[string]func(*partsServer) func(http.ResponseWriter, *http.Request) bool{
		"of requests": func(s *partsServer) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				for _, f := range []string{partial.Complete, partial.Offset, partial.Length} {
					r.Header.Del(f)
				}
				return false
			}
		},
		"of answers": func(s *partsServer) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodHead || !strings.Contains(r.URL.Path, ".resumable") {
					return r.Method == http.MethodPatch && hangUp(w)
				}
				w.WriteHeader(204)
				return true
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, front := newPartsServer(t)
			s.meddle = meddle(s)
			p := large(t)
			if d := one(t, resuming(t, front.URL), p); d.Err != nil {
				t.Fatal(d.Err)
			}
			if s.calls[len(s.calls)-1] != "PUT" || len(s.held) != 1 {
				t.Errorf("%v, %d held", s.calls, len(s.held))
			}
		})
	}
}

func hangUp(w http.ResponseWriter) bool {
	c, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		c.Close()
	}
	return true
}

// An upload that the location has forgotten is begun again.
func TestForgottenUploadIsBegunAgain(t *testing.T) {
	s, front := newPartsServer(t)
	patches := 0
	s.meddle = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPatch {
			return false
		}
		if patches++; patches > 1 {
			return false
		}
		s.mu.Lock()
		s.begun = nil
		s.mu.Unlock()
		return hangUp(w)
	}
	if d := one(t, resuming(t, front.URL), large(t)); d.Err != nil {
		t.Fatal(d.Err)
	}
	if patches != 2 {
		t.Errorf("%d parts", patches)
	}
}

// The receipt that did not arrive is asked for with an empty part, and no byte is
// sent twice; nor is one after a restart of the sender.
func TestLostReceiptCostsNoBytes(t *testing.T) {
	s, front := newPartsServer(t)
	lost := false
	s.meddle = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPatch || lost {
			return false
		}
		lost = true
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got, _ = io.ReadAll(r.Body)
		return hangUp(w)
	}
	if d := one(t, resuming(t, front.URL), large(t)); d.Err != nil {
		t.Fatal(d.Err)
	}
	if got := strings.Join(s.calls, ", "); got != "HEAD, PATCH 0" {
		t.Errorf("%s", got)
	}
}

func TestTransferGoesOnAfterARestart(t *testing.T) {
	s, front := newPartsServer(t)
	p := large(t)
	body, err := p.Open()
	if err != nil {
		t.Fatal(err)
	}
	s.got, _ = io.ReadAll(io.LimitReader(body, 2<<20))
	body.Close()
	s.begun = httptest.NewRequest(http.MethodPost, "/ManageSoftRL/Logs/"+strings.ReplaceAll(p.Name.String(), " ", "%20"), nil)
	if d := one(t, resuming(t, front.URL), p); d.Err != nil {
		t.Fatal(d.Err)
	}
	if got := strings.Join(s.calls, ", "); got != "PATCH 1048576" {
		t.Errorf("%s", got)
	}
}

// A receipt for other bytes is none, whoever gives it.
func TestReceiptOfPartsIsVerified(t *testing.T) {
	s, front := newPartsServer(t)
	s.meddle = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch {
			fmt.Fprint(w, `{"receipt":"x","sha256":"`+uploads.DigestOf(nil).String()+`"}`)
		}
		return r.Method == http.MethodPatch
	}
	if d := one(t, resuming(t, front.URL), large(t)); d.Err == nil {
		t.Error("taken for a delivery")
	}
}

// A server whose parts do not add up is given up, and not asked for ever.
func TestPartsThatLeadNowhere(t *testing.T) {
	for name, status := range map[string]int{"accepted": 204, "elsewhere": 409} {
		t.Run(name, func(t *testing.T) {
			s, front := newPartsServer(t)
			n := 0
			s.meddle = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPatch {
					n++
					w.Header().Set(partial.Offset, "0")
					w.WriteHeader(status)
				}
				return r.Method == http.MethodPatch
			}
			sink := resuming(t, front.URL)
			sink.Client.Resume.Threshold = 1 << 20
			if d := one(t, sink, large(t)); d.Err == nil || n > 40 {
				t.Errorf("%v after %d parts", d.Err, n)
			}
		})
	}
}
