//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"inventorybeacon/cmd/internal/child"
	"inventorybeacon/uploads/backoff"
)

const (
	bucket    = "inventory"
	accessKey = "torture-access"
	secretKey = "torture-secret-key"
)

// A store is a real S3 server, and a proxy before it with faults.
type store struct {
	server *child.Program
	client *minio.Client // past the proxy
	front  *http.Server
	url    string // of the proxy
	ledger *ledger

	mood   atomic.Int32
	faults atomic.Int64

	mu     sync.Mutex
	stored []string      // keys of objects that the sender was told are there, for the witness
	held   chan struct{} // closed when the ward's objects go again; nil while they do
}

// Moods of what stands before the store.
const (
	fine  int32 = iota
	moody       // a request in three fails
	away        // all do
)

func openStore(ctx context.Context, program, dir string, l *ledger) (*store, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	// The server cannot be told to pick an address itself: this one was free.
	address := listener.Addr().String()
	listener.Close()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	s := &store{ledger: l}
	if s.server, err = child.Start(nil, program, "--port", address, "--access", accessKey, "--secret", secretKey, "--quiet", "posix", dir); err != nil {
		return nil, err
	}
	if s.client, err = minio.New(address, &minio.Options{Creds: credentials.NewStaticV4(accessKey, secretKey, "")}); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(child.ReadyWithin); ; {
		err := s.client.MakeBucket(ctx, bucket, minio.MakeBucketOptions{})
		if err == nil {
			break
		}
		if ended := s.server.Ended(); ended != nil || time.Now().After(deadline) || !backoff.Sleep(ctx, 50*time.Millisecond) {
			return nil, errors.Join(err, ended)
		}
	}
	return s, s.stand(address)
}

// stand puts the proxy before the server.
func (s *store) stand(server string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: server})
			r.Out.Host = r.In.Host // it is signed
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { panic(http.ErrAbortHandler) },
	}
	s.url = "http://" + listener.Addr().String()
	s.front = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, proxy) })}
	go s.front.Serve(listener)
	return nil
}

func (s *store) close() {
	s.release()
	if s.front != nil {
		s.front.Close()
	}
	s.server.Kill()
}

// hold has the objects of the ward wait; release lets them go.
func (s *store) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = make(chan struct{})
	}
}

func (s *store) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		close(s.held)
		s.held = nil
	}
}

// pace is how long a store that is fine takes at most: long enough for a beacon
// to be killed while it waits for the answer.
const pace = 60 * time.Millisecond

func (s *store) serve(w http.ResponseWriter, r *http.Request, proxy http.Handler) {
	key, isObject := strings.CutPrefix(r.URL.Path, "/"+bucket+"/")
	if r.Method != http.MethodPut || !isObject || r.URL.RawQuery != "" {
		proxy.ServeHTTP(w, r)
		return
	}
	s.ledger.sent(key, time.Now())
	s.mu.Lock()
	held := s.held
	s.mu.Unlock()
	if held != nil && strings.Contains(key, "/"+ward+"/") {
		select {
		case <-held:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	backoff.Sleep(r.Context(), rand.N(pace))
	answer := &answer{ResponseWriter: w}
	s.put(answer, r, proxy)
	if answer.status == http.StatusOK {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stored = append(s.stored, key)
	}
}

// put stores an object, or fails to, or stores it and does not say so.
func (s *store) put(w http.ResponseWriter, r *http.Request, proxy http.Handler) {
	mood := s.mood.Load()
	if mood == fine || mood == moody && rand.IntN(3) > 0 {
		proxy.ServeHTTP(w, r)
		return
	}
	s.faults.Add(1)
	switch rand.IntN(5) {
	case 0: // it does not look at the body
		http.Error(w, "out of order", http.StatusInternalServerError)
	case 1: // it fails after the body
		io.Copy(io.Discard, r.Body)
		http.Error(w, "out of order", http.StatusServiceUnavailable)
	case 2: // it hangs in the middle of the body, and hangs up
		io.CopyN(io.Discard, r.Body, r.ContentLength/2)
		backoff.Sleep(r.Context(), rand.N(2*time.Second))
		panic(http.ErrAbortHandler)
	case 3: // it passes on half of the body
		half := *r
		half.Body = io.NopCloser(io.LimitReader(r.Body, r.ContentLength/2))
		proxy.ServeHTTP(&answer{ResponseWriter: discard{}}, &half)
		panic(http.ErrAbortHandler)
	case 4: // the object is there, and nobody hears of it
		proxy.ServeHTTP(&answer{ResponseWriter: discard{}}, r)
		backoff.Sleep(r.Context(), rand.N(time.Second))
		panic(http.ErrAbortHandler)
	}
}

// takeStored returns the keys stored since the last call.
func (s *store) takeStored() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := s.stored
	s.stored = nil
	return keys
}

// An answer knows its status.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// discard is an answer that nobody gets.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

// identity is the file that an object says it is.
func identity(o minio.ObjectInfo) (kind, name, digest string, err error) {
	kind, _, _ = strings.Cut(o.Key, "/")
	if name, err = url.PathUnescape(o.UserMetadata["Name"]); err != nil {
		return "", "", "", fmt.Errorf("object %s: %w", o.Key, err)
	}
	return kind, name, o.UserMetadata["Sha256"], nil
}
