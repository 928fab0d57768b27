package transport

import (
	"bufio"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// serve returns a dial function whose connections are served by each of the
// given scripts in turn, the last one again and again.
func serve(scripts ...func(net.Conn, *bufio.Reader)) func(context.Context, string, string) (net.Conn, error) {
	var n atomic.Int32
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		script := scripts[min(int(n.Add(1))-1, len(scripts)-1)]
		go func() {
			defer server.Close()
			script(server, bufio.NewReader(server))
		}()
		return client, nil
	}
}

func client(t *testing.T, o Options) *http.Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// answer reads one request with its body and answers it.
func answer(conn net.Conn, r *bufio.Reader, body string) error {
	req, err := http.ReadRequest(r)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return err
	}
	_, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: "+itoa(len(body))+"\r\n\r\n"+body)
	return err
}

func itoa(n int) string { return string(rune('0' + n)) }

func put(c *http.Client, body string) (string, error) {
	req, err := http.NewRequest(http.MethodPut, "http://beacon.test/x", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	return do(c, req)
}

func get(c *http.Client) (string, error) {
	req, err := http.NewRequest(http.MethodGet, "http://beacon.test/x", nil)
	if err != nil {
		return "", err
	}
	return do(c, req)
}

func do(c *http.Client, req *http.Request) (string, error) {
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func TestClientRetriesDeadKeptAliveConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fresh atomic.Int32
		c := client(t, Options{Dial: serve(
			func(conn net.Conn, r *bufio.Reader) { // answers once, dies in the middle of the second
				if err := answer(conn, r, "one"); err != nil {
					t.Error(err)
				}
				r.ReadByte()
			},
			func(conn net.Conn, r *bufio.Reader) {
				fresh.Add(1)
				answer(conn, r, "two")
			})})
		if got, err := put(c, "a"); err != nil || got != "one" {
			t.Fatalf("%q, %v", got, err)
		}
		if got, err := put(c, "b"); err != nil || got != "two" || fresh.Load() != 1 {
			t.Errorf("%q, %v after %d fresh connections", got, err, fresh.Load())
		}
		c.CloseIdleConnections()
	})
}

func TestClientDoesNotRetryFreshConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dialled atomic.Int32
		c := client(t, Options{Dial: serve(func(net.Conn, *bufio.Reader) { dialled.Add(1) })})
		if got, err := put(c, "a"); err == nil || dialled.Load() != 1 {
			t.Errorf("%q, %v after %d connections", got, err, dialled.Load())
		}
	})
}

func TestClientCutsTransferWithoutProgress(t *testing.T) {
	for _, tt := range []struct {
		name   string
		method string
		script func(net.Conn, *bufio.Reader)
		after  time.Duration // zero: it succeeds
	}{
		{"no answer", http.MethodGet, func(_ net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) }, 30 * time.Second},
		{"half an answer", http.MethodGet, func(conn net.Conn, r *bufio.Reader) {
			http.ReadRequest(r)
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\non")
			io.Copy(io.Discard, r)
		}, 30 * time.Second},
		{"slow answer", http.MethodGet, func(conn net.Conn, r *bufio.Reader) {
			http.ReadRequest(r)
			for _, part := range []string{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "o", "n", "e"} {
				time.Sleep(25 * time.Second)
				io.WriteString(conn, part)
			}
		}, 0},
		{"body not taken", http.MethodPut, func(_ net.Conn, r *bufio.Reader) { r.Peek(1); <-time.After(time.Hour) }, 30 * time.Second},
		{"answer to a body takes long", http.MethodPut, func(conn net.Conn, r *bufio.Reader) {
			req, _ := http.ReadRequest(r)
			io.Copy(io.Discard, req.Body)
			time.Sleep(4 * time.Minute)
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")
		}, 0},
		{"no answer to a body", http.MethodPut, func(_ net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) }, 5 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := client(t, Options{Dial: serve(tt.script)})
				start := time.Now()
				var got string
				var err error
				if tt.method == http.MethodGet {
					got, err = get(c)
				} else {
					got, err = put(c, strings.Repeat("x", 100<<10))
				}
				took := time.Since(start)
				switch {
				case tt.after == 0 && (err != nil || got != "one"):
					t.Errorf("%q, %v after %v", got, err, took)
				case tt.after != 0 && (!stalled(err) || took < tt.after || took > tt.after+time.Second):
					t.Errorf("%q, %v after %v, want a stall after %v", got, err, took, tt.after)
				}
				c.CloseIdleConnections()
				time.Sleep(2 * time.Hour) // the bubble outlives the servers
			})
		})
	}
}

func TestClientFollowsNoRedirect(t *testing.T) {
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	}))
	defer srv.Close()
	c := client(t, Options{})
	resp, err := c.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusFound || asked.Load() != 1 {
		t.Errorf("status %d after %d requests", resp.StatusCode, asked.Load())
	}
}

func TestClientSendsHeader(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get("Beacon-Agent"))
	}))
	defer srv.Close()
	c := client(t, Options{Header: func() http.Header { return http.Header{"Beacon-Agent": {"x"}} }})
	resp, err := c.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestClientTrustsGivenAuthorityOnly(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	srv.Config.ErrorLog = nil
	file := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	resp, err := client(t, Options{CA: file}).Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if _, err := client(t, Options{}).Get(srv.URL); err == nil {
		t.Error("an authority nobody gave was trusted")
	}
	if _, err := New(Options{CA: filepath.Join(t.TempDir(), "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(file, []byte("not a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{CA: file}); err == nil {
		t.Error("a file without a certificate was taken")
	}
}

func TestClientUsesProxyOfLocation(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "by proxy to "+r.URL.Host)
	}))
	defer proxy.Close()
	c := client(t, Options{Proxy: func(*url.URL) string { return proxy.URL }})
	if got, err := get(c); err != nil || got != "by proxy to beacon.test" {
		t.Errorf("%q, %v", got, err)
	}
}
