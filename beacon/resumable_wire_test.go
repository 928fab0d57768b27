package beacon_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"inventorybeacon/beacon/beacontest"
	"inventorybeacon/uploads/resumable"
	"inventorybeacon/uploads/resumable/partial"
)

// dialed opens a connection and writes the head of a request.
func dialed(t *testing.T, addr, head string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "%s\r\nHost: beacon.example\r\n\r\n", strings.ReplaceAll(head, "\n", "\r\n"))
	return c
}

// do makes a request of a served site.
func do(t *testing.T, method, addr, path, body string, headers ...string) *http.Response {
	t.Helper()
	r := newRequest(method, path, strings.NewReader(body), headers...)
	r.URL.Host = addr
	resp, err := http.DefaultTransport.RoundTrip(r.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// A request for an upload ends the one before it, whose bytes count, whatever the
// new one wants; the offset that is told is then accepted.
func TestNewRequestEndsTheStuckOne(t *testing.T) {
	s := newSite(t)
	s.resuming(t, resumable.Options{})
	addr := s.runs(t)
	at := do(t, "POST", addr, partLog, "", "Upload-Complete: ?0").Header.Get("Location")
	stuck := func(offset int, text string) net.Conn {
		t.Helper()
		c := dialed(t, addr, fmt.Sprintf("PATCH %s HTTP/1.1\nContent-Type: application/partial-upload\nUpload-Offset: %d\nUpload-Complete: ?0\nContent-Length: 100\nExpect: 100-continue", at, offset))
		let := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
		if _, err := io.ReadFull(c, let); err != nil || !strings.Contains(string(let), " 100 ") {
			t.Fatalf("%q, %v", let, err)
		}
		io.WriteString(c, text) // it is let in, and reads
		return c
	}
	ended := func(c net.Conn) {
		t.Helper()
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if b, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") || len(b) > 0 {
			t.Errorf("the stuck request was answered %q, %v", b, err)
		}
	}
	c := stuck(0, "hello ")
	if resp := do(t, "HEAD", addr, at, ""); resp.Header.Get("Upload-Offset") != "6" {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
	ended(c)

	c = stuck(6, "big ")
	resp := do(t, "PATCH", addr, at, "x", partMedia, "Upload-Offset: 0", "Upload-Complete: ?0")
	if resp.StatusCode != 409 || resp.Header.Get("Upload-Offset") != "10" {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
	ended(c)
	if resp := do(t, "PATCH", addr, at, "world", partMedia, "Upload-Offset: 10", "Upload-Complete: ?0"); resp.StatusCode != 204 {
		t.Errorf("%s", resp.Status)
	}

	c = stuck(15, "!")
	if resp := do(t, "DELETE", addr, at, ""); resp.StatusCode != 204 {
		t.Errorf("%s", resp.Status)
	}
	ended(c)
	if resp := do(t, "HEAD", addr, at, ""); resp.StatusCode != 410 {
		t.Errorf("%s", resp.Status)
	}
}

// A sender that stalls is cut, and what it sent counts.
func TestStalledPartIsCut(t *testing.T) {
	s := newSite(t)
	s.resuming(t, resumable.Options{})
	s.bubble(t, func(t *testing.T, ln *beacontest.Listener) {
		client := ln.Client()
		defer client.CloseIdleConnections()
		created, err := client.Do(newRequest("POST", partLog, nil, "Upload-Complete: ?0"))
		if err != nil {
			t.Fatal(err)
		}
		created.Body.Close()
		at := created.Header.Get("Location")
		pr, pw := io.Pipe()
		var sender sync.WaitGroup
		defer sender.Wait()
		defer pr.Close()
		sender.Go(func() { io.WriteString(pw, "hello") })
		req := newRequest("PATCH", at, pr, partMedia, "Upload-Offset: 0", "Upload-Complete: ?0")
		req.ContentLength = 100
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got := code(t, resp); resp.StatusCode != 408 || got != "stalled" || resp.Header.Get("Upload-Offset") != "5" {
			t.Errorf("%d %q %v", resp.StatusCode, got, resp.Header)
		}
	})
}

// Interim answers go to who asks for this version of them, where they are
// switched on, and to nobody else.
func TestInterimAnswers(t *testing.T) {
	for _, tt := range []struct {
		on      bool
		version string
		want    bool
	}{{true, "8", true}, {false, "8", false}, {true, "7", false}, {true, "", false}, {true, "eight", false}} {
		t.Run(fmt.Sprint(tt.on, tt.version), func(t *testing.T) {
			s := newSite(t)
			s.resuming(t, resumable.Options{})
			s.Resumption.Interim = tt.on
			addr := s.runs(t)
			var got []http.Header
			r := newRequest("PUT", partLog, strings.NewReader("hello"), "Upload-Complete: ?1")
			if tt.version != "" {
				r.Header.Set("Upload-Draft-Interop-Version", tt.version)
			}
			r.URL.Host = addr
			r = r.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
				Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
					if code == partial.StatusSupported {
						got = append(got, http.Header(h))
					}
					return nil
				},
			}))
			resp, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if receipt := receiptOf(t, resp); receipt.Bytes != 5 || resp.Header.Get("Upload-Complete") != "?1" {
				t.Errorf("%+v %v", receipt, resp.Header)
			}
			if (len(got) > 0) != tt.want {
				t.Fatalf("%v", got)
			}
			if tt.want && (got[0].Get("Location") == "" || got[0].Get("Upload-Limit") == "" || got[0].Get("Upload-Draft-Interop-Version") != "8") {
				t.Errorf("%v", got)
			}
		})
	}
}

// Who was told where an upload lies can go on after a cut in its first request.
func TestInterimAnswerIsEnoughToGoOn(t *testing.T) {
	s := newSite(t)
	s.resuming(t, resumable.Options{})
	s.Resumption.Interim = true
	addr := s.runs(t)
	c := dialed(t, addr, "PUT "+partLog+" HTTP/1.1\nUpload-Draft-Interop-Version: 8\nUpload-Complete: ?1\nContent-Length: 11")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 104 {
		t.Fatalf("%v %v", resp, err)
	}
	at := resp.Header.Get("Location")
	io.WriteString(c, "hello ")
	c.Close()
	head := do(t, "HEAD", addr, at, "")
	if head.Header.Get("Upload-Offset") != "6" || head.Header.Get("Upload-Length") != "11" {
		t.Fatalf("%s %v", head.Status, head.Header)
	}
	if r := receiptOf(t, do(t, "PATCH", addr, at, "world", partMedia, "Upload-Offset: 6", "Upload-Complete: ?1")); r.Bytes != 11 {
		t.Errorf("%+v", r)
	}
}

// A sender that waits for the word to go on gets it after an interim answer too,
// and not before a part that is refused.
func TestPartWaitsForContinue(t *testing.T) {
	s := newSite(t)
	s.resuming(t, resumable.Options{})
	addr := s.runs(t)
	at := do(t, "POST", addr, partLog, "", "Upload-Complete: ?0").Header.Get("Location")
	for offset, want := range map[int]string{0: "100", 7: "409"} {
		c := dialed(t, addr, fmt.Sprintf("PATCH %s HTTP/1.1\nContent-Type: application/partial-upload\nUpload-Offset: %d\nUpload-Complete: ?0\nContent-Length: 5\nExpect: 100-continue", at, offset))
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "HTTP/1.1 "+want) {
			t.Errorf("at %d: %q %v", offset, line, err)
		}
		c.Close()
	}
}
