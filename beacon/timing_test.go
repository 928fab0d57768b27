package beacon_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/beacon/beacontest"
)

// bubble serves the site over memory inside a synctest bubble, which ends
// when f has returned and everything has stopped.
func (s *site) bubble(t *testing.T, f func(t *testing.T, ln *beacontest.Listener)) {
	synctest.Test(t, func(t *testing.T) {
		ln := beacontest.Listen()
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx, ln) }()
		f(t, ln)
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
}

// put sends a body in pieces with a pause before each, and returns the status.
func put(t *testing.T, ln *beacontest.Listener, target string, pieces []string, pause time.Duration) int {
	client := ln.Client()
	defer client.CloseIdleConnections()
	pr, pw := io.Pipe()
	var sender sync.WaitGroup
	defer sender.Wait() // a bubble must not outlive its goroutines
	defer pr.Close()
	sender.Go(func() {
		for _, p := range pieces {
			time.Sleep(pause)
			if _, err := io.WriteString(pw, p); err != nil {
				return
			}
		}
		pw.Close()
	})
	req, err := http.NewRequest("PUT", "http://beacon.example"+target, pr)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = int64(len(strings.Join(pieces, "")))
	resp, err := client.Do(req)
	if err != nil {
		t.Error(err)
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

func repeat(s string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}

func TestStalledUpload(t *testing.T) {
	kib := strings.Repeat("x", 1<<10)
	for _, tt := range []struct {
		name    string
		pieces  []string
		pause   time.Duration
		pressed bool
		status  int
	}{
		{"slow", repeat("y", 8), 29 * time.Second, false, 200},
		{"stalled", repeat("y", 8), 31 * time.Second, false, 408},
		{"slow while others wait", repeat("y", 8), 29 * time.Second, true, 408},
		{"under 1 KiB a second while others wait", repeat(kib, 40), 1100 * time.Millisecond, true, 408},
		{"over 1 KiB a second while others wait", repeat(kib, 80), 900 * time.Millisecond, true, 200},
		{"under 1 KiB a second, nobody waits", repeat(kib, 80), 1100 * time.Millisecond, false, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			s.pressed = tt.pressed
			s.bubble(t, func(t *testing.T, ln *beacontest.Listener) {
				if got := put(t, ln, ndi, tt.pieces, tt.pause); got != tt.status {
					t.Errorf("status %d, want %d", got, tt.status)
				}
			})
			if stored := len(s.spool.bodies) == 1; stored != (tt.status == 200) {
				t.Errorf("stored %d", len(s.spool.bodies))
			}
		})
	}
}

// Uploads of one large slow sender hold a slot; small ones hold none.
func TestSlowSmallUploadsTakeNoSlot(t *testing.T) {
	s := newSite(t)
	s.InFlight = 16 // of which 4 may be large
	s.bubble(t, func(t *testing.T, ln *beacontest.Listener) {
		var senders sync.WaitGroup
		for i := range 6 {
			senders.Go(func() {
				if got := put(t, ln, fmt.Sprintf("/ManageSoftRL/Logs/slow%d.log", i), repeat("y", 4), 5*time.Second); got != 200 {
					t.Errorf("slow small upload: %d", got)
				}
			})
		}
		large := repeat(strings.Repeat("x", 32<<10), 8)
		counts := map[int]int{}
		var mu sync.Mutex
		for i := range 6 {
			senders.Go(func() {
				got := put(t, ln, fmt.Sprintf("/ManageSoftRL/Logs/large%d.log", i), large, 5*time.Second)
				mu.Lock()
				counts[got]++
				mu.Unlock()
			})
		}
		senders.Wait()
		if counts[200] != 4 || counts[503] != 2 {
			t.Errorf("large uploads ended %v; 4 slots", counts)
		}
	})
}

// A silence while the file is being stored is no stall.
func TestSlowDiskIsNoStall(t *testing.T) {
	s := newSite(t)
	s.bubble(t, func(t *testing.T, ln *beacontest.Listener) {
		s.spool.hold = make(chan struct{})
		var disk sync.WaitGroup
		disk.Go(func() { time.Sleep(10 * time.Minute); close(s.spool.hold) })
		if got := put(t, ln, ndi, []string{"hello"}, 0); got != 200 {
			t.Errorf("status %d", got)
		}
		disk.Wait()
	})
}

// A sender that writes its whole body before it reads sees an early refusal.
func TestBlockingSenderSeesRefusal(t *testing.T) {
	for _, tt := range []struct {
		name   string
		length int
	}{
		{"small", 1 << 10}, {"beyond what a server reads by itself", 4 << 20}, {"just within", 8<<20 - 1<<10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			s.full = true
			s.bubble(t, func(t *testing.T, ln *beacontest.Listener) {
				c, err := ln.Dial(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				// The pipe has no buffer: an answer that nobody reads blocks the
				// server, as a full socket would. Read it aside, as late as possible.
				answer := make(chan string, 1)
				go func() {
					line, _ := bufio.NewReader(c).ReadString('\n')
					answer <- line
				}()
				body := strings.Repeat("x", tt.length)
				if _, err := fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: b\r\nContent-Length: %d\r\n\r\n%s", ndi, len(body), body); err != nil {
					t.Errorf("the sender was cut while sending: %v", err)
				}
				if got := <-answer; !strings.Contains(got, "507") {
					t.Errorf("answer %q", got)
				}
			})
		})
	}
}

// Who goes on sending after a refusal is not read for ever.
func TestRefusedSenderIsCut(t *testing.T) {
	s := newSite(t)
	s.full = true
	s.bubble(t, func(t *testing.T, ln *beacontest.Listener) {
		c, err := ln.Dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		go io.Copy(io.Discard, c)
		fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: b\r\nContent-Length: 1000000\r\n\r\n", ndi)
		start := time.Now()
		for {
			if _, err := c.Write([]byte("x")); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("was read for %v", took)
		}
	})
}

// What a refused sender sends when nobody reads its body any more is not taken
// for its next request.
func TestRefusedBodyIsNoRequest(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("late=%v", late), func(t *testing.T) {
			s := newSite(t)
			s.full = true
			s.bubble(t, func(t *testing.T, ln *beacontest.Listener) {
				c, err := ln.Dial(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				const hidden = "GET /ManageSoftRL/ HTTP/1.1\r\nHost: b\r\n\r\n"
				var sender sync.WaitGroup
				defer sender.Wait() // a bubble must not outlive its goroutines
				sender.Go(func() {
					fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: b\r\nContent-Length: %d\r\n\r\n", ndi, len(hidden))
					if late {
						time.Sleep(8 * time.Second)
					}
					io.WriteString(c, hidden+"GET /ManageSoftRL/ HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")
				})
				all, _ := io.ReadAll(c)
				want := 2 // the refusal, and what was really asked next
				if late {
					want = 1
				}
				if n := strings.Count(string(all), "HTTP/1.1 "); n != want {
					t.Errorf("%d answers, want %d:\n%s", n, want, all)
				}
			})
		})
	}
}

// A body that is announced and never sent holds its connection for a while only,
// whether anybody wanted it or not; the shorter, if it was refused.
func TestUnsentBodyEndsConnection(t *testing.T) {
	for _, tt := range []struct {
		head string
		most time.Duration
	}{
		{"GET /ManageSoftRL/ HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\n", 35 * time.Second},
		{"GET /ManageSoftRL/ HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n", 35 * time.Second},
		{"POST " + ndi + " HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\n", 10 * time.Second},
		{"PUT /ManageSoftRL/x.exe HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\n", 10 * time.Second},
		{"PUT /ManageSoftRL/x.exe HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", 10 * time.Second},
		{"PUT " + ndi + " HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", 35 * time.Second},
	} {
		t.Run(tt.head, func(t *testing.T) {
			newSite(t).bubble(t, func(t *testing.T, ln *beacontest.Listener) {
				c, err := ln.Dial(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				start := time.Now()
				go io.WriteString(c, tt.head)
				c.SetReadDeadline(start.Add(time.Hour))
				io.Copy(io.Discard, c) // until the end
				if took := time.Since(start); took > tt.most {
					t.Errorf("held for %v", took)
				}
			})
		})
	}
}

// A sender that waits for the word to continue hears the refusal instead.
func TestExpectIsAnsweredAfterAdmission(t *testing.T) {
	for _, full := range []bool{false, true} {
		t.Run(fmt.Sprintf("full=%v", full), func(t *testing.T) {
			s := newSite(t)
			s.full = full
			s.bubble(t, func(t *testing.T, ln *beacontest.Listener) {
				c, err := ln.Dial(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				go fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n", ndi)
				r := bufio.NewReader(c)
				first, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				if full {
					if first.StatusCode != 507 {
						t.Errorf("first word %d", first.StatusCode)
					}
					io.Copy(io.Discard, r) // the rest, to the end
					return
				}
				if first.StatusCode != 100 {
					t.Fatalf("first word %d", first.StatusCode)
				}
				go io.WriteString(c, "hello")
				last, err := http.ReadResponse(r, nil)
				if err != nil || last.StatusCode != 200 {
					t.Fatalf("%+v, %v", last, err)
				}
				io.Copy(io.Discard, r)
			})
		})
	}
}

// From the start of a drain the reachability check says so and new uploads are
// turned away, while those under way finish.
func TestDrain(t *testing.T) {
	for _, tt := range []struct {
		name   string
		pieces int // one a second
		status int
	}{
		{"upload ends in time", 5, 200},
		{"upload takes too long", 60, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			synctest.Test(t, func(t *testing.T) {
				ln := beacontest.Listen()
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				served := make(chan error, 1)
				go func() { served <- s.Serve(ctx, ln) }()
				var sender sync.WaitGroup
				sender.Go(func() {
					client := ln.Client()
					defer client.CloseIdleConnections()
					pr, pw := io.Pipe()
					var writer sync.WaitGroup
					writer.Go(func() {
						for range tt.pieces {
							time.Sleep(time.Second)
							if _, err := io.WriteString(pw, "y"); err != nil {
								return
							}
						}
						pw.Close()
					})
					req, _ := http.NewRequest("PUT", "http://b"+ndi, pr)
					resp, err := client.Do(req)
					pr.Close()
					writer.Wait()
					if (err == nil) != (tt.status != 0) || err == nil && resp.StatusCode != tt.status {
						t.Errorf("upload: %+v, %v", resp, err)
					}
					if err == nil {
						resp.Body.Close()
					}
				})
				time.Sleep(1500 * time.Millisecond)
				check := func(method, path string) int {
					client := ln.Client()
					defer client.CloseIdleConnections()
					req, _ := http.NewRequest(method, "http://b"+path, nil)
					resp, err := client.Do(req)
					if err != nil {
						t.Error(err)
						return 0
					}
					resp.Body.Close()
					return resp.StatusCode
				}
				if got := check("GET", "/ManageSoftRL/"); got != 200 {
					t.Errorf("before: %d", got)
				}
				begun := time.Now()
				stop()
				synctest.Wait()
				if got := check("GET", "/ManageSoftRL/"); got != 503 {
					t.Errorf("reachability while draining: %d", got)
				}
				if got := check("PUT", ndi); got != 503 {
					t.Errorf("new upload while draining: %d", got)
				}
				if got := check("GET", "/ManageSoftDL/none"); got != 404 {
					t.Errorf("download while draining: %d", got)
				}
				if err := <-served; err != nil {
					t.Errorf("Serve = %v", err)
				}
				if took := time.Since(begun); took > 9*time.Second {
					t.Errorf("drained for %v", took)
				}
				sender.Wait()
			})
		})
	}
}

// A head that does not come is not waited for.
func TestSlowHeadIsCut(t *testing.T) {
	s := newSite(t)
	s.bubble(t, func(t *testing.T, ln *beacontest.Listener) {
		c, err := ln.Dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		go io.Copy(io.Discard, c)
		start := time.Now()
		for _, b := range []byte("GET /ManageSoftRL/ HTTP/1.1\r\nHost: b\r\n") {
			if _, err := c.Write([]byte{b}); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("waited %v for the head", took)
		}
	})
}
