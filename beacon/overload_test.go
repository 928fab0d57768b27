package beacon_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"inventorybeacon/beacon"
	"inventorybeacon/beacon/config"
)

const aLog = "/ManageSoftRL/Logs/a.log"

// dial connects to the host of a URL. What is read has a minute to come.
func dial(t *testing.T, url string) (net.Conn, *bufio.Reader) {
	t.Helper()
	_, host, _ := strings.Cut(url, "://")
	c, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c, bufio.NewReader(c)
}

// answered returns the status of the next answer, with its headers.
func answered(t *testing.T, r *bufio.Reader) (int, http.Header) {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusContinue {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	return resp.StatusCode, resp.Header
}

// One connection too many is closed before a word is said, TLS or not; one that
// is only kept alive makes room.
func TestConnectionsAreBounded(t *testing.T) {
	c := load(t, t.TempDir(), config.Flags{Listen: []string{"127.0.0.1:0"}, ListenTLS: []string{"127.0.0.1:0"}})
	c.Limits.Connections = 1
	at, _ := start(t, beacon.Options{Config: c})

	first, r := dial(t, at.Agents[0])
	fmt.Fprintf(first, "PUT %s HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", aLog)
	if status, _ := answered(t, r); status != 100 {
		t.Fatalf("%d", status)
	}
	second, r2 := dial(t, at.Agents[0])
	io.WriteString(second, "GET /ManageSoftRL/ HTTP/1.1\r\nHost: b\r\n\r\n")
	if _, err := r2.ReadByte(); err == nil {
		t.Error("a second connection was served beside a busy one")
	}
	io.WriteString(first, "hello")
	if status, _ := answered(t, r); status != 200 {
		t.Errorf("%d", status)
	}
	// A connection is idle a little after its answer is there.
	eventually(t, "an answer beside an idle connection", func() bool {
		third, r3 := dial(t, at.Agents[0])
		io.WriteString(third, "GET /ManageSoftRL/ HTTP/1.1\r\nHost: b\r\n\r\n")
		resp, err := http.ReadResponse(r3, nil)
		return err == nil && resp.StatusCode == 200
	})
	if _, err := r.ReadByte(); err == nil {
		t.Error("the idle connection is still there")
	}

	var shaken *tls.Conn
	eventually(t, "a handshake beside an idle connection", func() bool {
		secure, _ := dial(t, at.AgentsTLS[0])
		shaken = tls.Client(secure, &tls.Config{InsecureSkipVerify: true})
		return shaken.Handshake() == nil
	})
	fmt.Fprintf(shaken, "PUT %s HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", aLog)
	if status, _ := answered(t, bufio.NewReader(shaken)); status != 100 {
		t.Fatalf("%d", status)
	}
	_, r4 := dial(t, at.AgentsTLS[0])
	if b, err := r4.ReadByte(); err == nil {
		t.Errorf("one too many got the byte %#x", b)
	}
}

// The word to continue comes after admission, and not at all without it.
func TestContinueIsSaidAfterAdmission(t *testing.T) {
	c := load(t, t.TempDir(), config.Flags{})
	c.Limits.InFlight = 1
	at, _ := start(t, beacon.Options{Config: c})
	begin := func(length int, file string) (net.Conn, *bufio.Reader, int, http.Header) {
		conn, r := dial(t, at.Agents[0])
		fmt.Fprintf(conn, "PUT /ManageSoftRL/Logs/%s HTTP/1.1\r\nHost: b\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", file, length)
		status, h := answered(t, r)
		return conn, r, status, h
	}
	const large = 200 << 10 // keeps its place although it is slow
	first, r, status, _ := begin(large, "a.log")
	if status != 100 {
		t.Fatalf("the first was told %d", status)
	}
	if _, err := first.Write(make([]byte, 100<<10)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a refusal", func() bool {
		_, _, status, h := begin(5, "b.log")
		return status == 503 && h.Get("Retry-After") != ""
	})
	if _, err := first.Write(make([]byte, 100<<10)); err != nil {
		t.Fatal(err)
	}
	if status, _ := answered(t, r); status != 200 {
		t.Errorf("the first ended with %d", status)
	}
	second, r, status, _ := begin(5, "b.log")
	if status != 100 {
		t.Fatalf("with a free place: %d", status)
	}
	io.WriteString(second, "hello")
	if status, _ := answered(t, r); status != 200 {
		t.Errorf("the second ended with %d", status)
	}
}
