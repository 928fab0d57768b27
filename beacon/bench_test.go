package beacon_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"inventorybeacon/policy"
	"inventorybeacon/policy/revision"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
	"inventorybeacon/uploads/spool"
)

const pollPath = "/ManageSoftDL/Policies/Merged/EXAMPLE_domain/Machine/pc1.npl"

// polled is a site with one device's policy, and its ETag.
func polled(t testing.TB) (*site, string) {
	s := newSite(t)
	o := coded(object(strings.Repeat("policy ", 700)))
	o.Private = true
	s.snapshot.policy = func(policy.Query) (*revision.Object, error) { return o, nil }
	return s, o.ETag
}

// BenchmarkPoll compares a poll with nothing new, over one kept-alive
// connection, with the least that net/http can do from memory.
func BenchmarkPoll(b *testing.B) {
	s, etag := polled(b)
	tag, control := []string{etag}, []string{"private, no-cache"}
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Etag"], h["Cache-Control"] = tag, control
		if v := r.Header["If-None-Match"]; len(v) == 1 && v[0] == etag {
			w.WriteHeader(http.StatusNotModified)
		}
	})
	for name, h := range map[string]http.Handler{"bare": bare, "beacon": s.Handler()} {
		b.Run(name, func(b *testing.B) {
			srv := httptest.NewServer(h)
			defer srv.Close()
			c, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			request := "GET " + pollPath + " HTTP/1.1\r\nHost: b\r\nIf-None-Match: " + etag + "\r\n\r\n"
			r := bufio.NewReader(c)
			b.ReportAllocs()
			for b.Loop() {
				io.WriteString(c, request)
				for {
					line, err := r.ReadSlice('\n')
					if err != nil {
						b.Fatal(err)
					}
					if len(line) == 2 {
						break
					}
				}
			}
		})
	}
}

// A sieve is a spool that keeps nothing.
type sieve struct{ memory }

func (*sieve) Accept(_ context.Context, d spool.Draft, body io.Reader) (uploads.Receipt, error) {
	n, err := io.Copy(io.Discard, body)
	return uploads.Upload{Kind: d.Kind, Name: d.Name, Device: d.Device, Size: n, Received: published, Beacon: "beacon-1"}.Receipt(), err
}

// large is a compressed inventory of an old agent, of 20 KB.
func large() string {
	var b strings.Builder
	for i := range 1500 {
		fmt.Fprintf(&b, "<Package Name=\"package %d\" Version=\"%x\"/>\n", i, sha256.Sum256([]byte{byte(i), byte(i >> 8)}))
	}
	return zipped(strings.Replace(inventory, "<Hardware", b.String()+"<Hardware", 1))[:20<<10]
}

// BenchmarkUpload is the surface's share of taking an inventory.
func BenchmarkUpload(b *testing.B) {
	s := newSite(b)
	s.Spool, s.Seen = &sieve{}, func(catalogue.Sighting) {}
	h, body := s.Handler(), large()
	w := &nothing{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		w.status = 0
		h.ServeHTTP(w, httptest.NewRequest("PUT", "/ManageSoftRL/Inventories/pc1%20at%2020260101T000000.ndi.gz", strings.NewReader(body)))
		if w.status != http.StatusOK {
			b.Fatal(w.status)
		}
	}
}

// An upload goes past the routes, and leaves the collector little to do.
func TestUploadCostsLittleMemory(t *testing.T) {
	s := newSite(t)
	s.Spool, s.Seen = &sieve{}, func(catalogue.Sighting) {}
	h, body := s.Handler(), strings.NewReader(large())
	r := httptest.NewRequest("PUT", "/ManageSoftRL/Inventories/pc1%20at%2020260101T000000.ndi.gz", body)
	r.Body = io.NopCloser(body)
	w := &nothing{header: http.Header{}}
	allocs := testing.AllocsPerRun(1000, func() {
		w.status = 0
		body.Seek(0, io.SeekStart)
		h.ServeHTTP(w, r)
	})
	if w.status != http.StatusOK || allocs > 52 {
		t.Errorf("status %d with %v allocations", w.status, allocs)
	}
}

// A poll with nothing new must stay close to free: a fleet does little else.
func TestPollCostsLittleMemory(t *testing.T) {
	s, etag := polled(t)
	s.Seen = func(catalogue.Sighting) {}
	h := s.Handler()
	r := httptest.NewRequest("GET", pollPath, nil)
	r.Header["If-None-Match"] = []string{etag}
	w := &nothing{header: http.Header{}}
	h.ServeHTTP(w, r)
	allocs := testing.AllocsPerRun(1000, func() { w.status = 0; h.ServeHTTP(w, r) })
	if w.status != 304 || allocs > 2 {
		t.Errorf("status %d with %v allocations", w.status, allocs)
	}
}

// nothing is a response that keeps only its status.
type nothing struct {
	header http.Header
	status int
}

func (n *nothing) Header() http.Header         { return n.header }
func (n *nothing) Write(p []byte) (int, error) { return len(p), nil }
func (n *nothing) WriteHeader(status int)      { n.status = status }

func (n *nothing) SetReadDeadline(time.Time) error  { return nil }
func (n *nothing) SetWriteDeadline(time.Time) error { return nil }
