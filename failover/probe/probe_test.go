package probe_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"inventorybeacon/failover"
	"inventorybeacon/failover/probe"
)

// A dialer notes whom it was asked to connect to, and can be slow.
type dialer struct {
	mu    sync.Mutex
	to    []string
	delay map[string]time.Duration
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d.mu.Lock()
	d.to = append(d.to, address)
	delay := d.delay[address]
	d.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return (&net.Dialer{}).DialContext(context.WithoutCancel(ctx), network, address)
}

// server starts a beacon of sorts and returns it as a location.
func server(t *testing.T, answer http.HandlerFunc) failover.Location {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return location(s.URL)
}

func location(root string) failover.Location {
	return failover.Location{Name: root, Download: root + "/ManageSoftDL", Upload: root + "/ManageSoftRL", Auto: true}
}

func answer(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

func noProxy(*http.Request) (*url.URL, error) { return nil, nil }

// gone returns a location where nobody listens any more.
func gone(t *testing.T) failover.Location {
	t.Helper()
	s := httptest.NewServer(answer(200))
	s.Close()
	return location(s.URL)
}

func host(l failover.Location) string {
	u, _ := url.Parse(l.ID())
	return u.Host
}

func TestCheckTellsWhoServes(t *testing.T) {
	p := &probe.Prober{Environment: noProxy}
	for status, serves := range map[int]bool{
		200: true, 401: true, 404: true, 405: true, 302: false, 407: false, 500: false, 503: false,
	} {
		var path string
		l := server(t, func(w http.ResponseWriter, r *http.Request) {
			path = r.URL.Path
			w.Header().Set("Location", "http://192.0.2.1/")
			w.WriteHeader(status)
		})
		took, err := p.Check(t.Context(), l)
		if (err == nil) != serves || serves && took <= 0 {
			t.Errorf("%d: %v, %v", status, took, err)
		}
		if path != "/ManageSoftRL/" {
			t.Errorf("asked for %q", path)
		}
	}
	if _, err := p.Check(t.Context(), gone(t)); err == nil {
		t.Error("a closed port serves")
	}
}

func TestCheckDoesNotWaitForEver(t *testing.T) {
	release := make(chan struct{})
	l := server(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	p := &probe.Prober{Environment: noProxy, Timeout: 50 * time.Millisecond}
	if _, err := p.Check(t.Context(), l); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Check: %v", err)
	}
}

func TestCheckVerifiesTheCertificate(t *testing.T) {
	s := httptest.NewUnstartedServer(answer(200))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	trusting := &probe.Prober{Environment: noProxy, TLS: s.Client().Transport.(*http.Transport).TLSClientConfig}
	if _, err := trusting.Check(t.Context(), location(s.URL)); err != nil {
		t.Error(err)
	}
	if _, err := (&probe.Prober{Environment: noProxy}).Check(t.Context(), location(s.URL)); err == nil {
		t.Error("an unknown certificate was taken")
	}
}

// The nearer server answers sooner; one that does not answer has no time, and
// all are asked at once.
func TestMeasureRoundTrips(t *testing.T) {
	near, far, dead := server(t, answer(200)), server(t, answer(200)), gone(t)
	slow := 300 * time.Millisecond
	d := &dialer{delay: map[string]time.Duration{host(far): slow, host(dead): slow}}
	p := &probe.Prober{Environment: noProxy, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		// The delay is ours, so the connection's own account of the handshake must not be used.
		return d.dial(context.WithoutCancel(detached{ctx}), network, address)
	}}
	began := time.Now()
	f := p.Measure(t.Context(), failover.Needs{RTT: true}, []failover.Location{far, near, dead})
	if took := time.Since(began); took > 2*slow {
		t.Errorf("measured one after another: %v", took)
	}
	if len(f.RTT) != 2 || f.RTT[near.ID()] <= 0 || f.RTT[far.ID()] < slow {
		t.Errorf("round trips %v", f.RTT)
	}
	c, _, err := failover.ParseChain("MgsPing")
	if err != nil {
		t.Fatal(err)
	}
	got := c.Order([]failover.Location{far, dead, near}, f)
	if got[0].ID() != near.ID() || got[2].ID() != dead.ID() {
		t.Errorf("order %v", got)
	}
}

// detached hides the trace that a context carries.
type detached struct{ context.Context }

func (detached) Value(any) any { return nil }

func TestMeasureConnectsToNobodyElse(t *testing.T) {
	used, unused := server(t, answer(200)), server(t, answer(200))
	unused.Invalid = true
	d := &dialer{}
	p := &probe.Prober{Environment: noProxy, Dial: d.dial, Object: "x"}
	need := failover.Needs{RTT: true, Bandwidth: true, Addresses: true}
	f := p.Measure(t.Context(), need, []failover.Location{used, unused})
	for _, to := range d.to {
		if to != host(used) {
			t.Errorf("connected to %s", to)
		}
	}
	if len(d.to) != 2 || len(f.RTT) != 1 {
		t.Errorf("connected to %q, round trips %v", d.to, f.RTT)
	}
	p.Measure(t.Context(), failover.Needs{}, []failover.Location{used})
	if len(d.to) != 2 {
		t.Error("measured what nobody asked for")
	}
}

func TestMeasureGoesThroughTheProxy(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.String())
	}))
	t.Cleanup(proxy.Close)
	via, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	d := &dialer{}
	p := &probe.Prober{Dial: d.dial, Environment: func(*http.Request) (*url.URL, error) { return via, nil }}
	own, env, direct := location("http://own.invalid"), location("http://env.invalid"), server(t, answer(200))
	own.Proxy, direct.Proxy = proxy.URL, failover.Direct
	f := p.Measure(t.Context(), failover.Needs{RTT: true}, []failover.Location{own, env, direct})
	if len(f.RTT) != 3 {
		t.Errorf("round trips %v", f.RTT)
	}
	slices.Sort(asked)
	if got := strings.Join(asked, " "); got != "http://env.invalid/ManageSoftRL/ http://own.invalid/ManageSoftRL/" {
		t.Errorf("the proxy was asked for %s", got)
	}
	slices.Sort(d.to)
	if want := []string{via.Host, via.Host, host(direct)}; !slices.Equal(d.to, slices.Sorted(slices.Values(want))) {
		t.Errorf("connected to %q, want %q", d.to, want)
	}
	own.Proxy = "://"
	if f := p.Measure(t.Context(), failover.Needs{RTT: true}, []failover.Location{own}); len(f.RTT) > 0 {
		t.Error("a proxy that is none was used")
	}
}

func TestMeasureAddresses(t *testing.T) {
	p := &probe.Prober{Lookup: func(_ context.Context, network, host string) ([]netip.Addr, error) {
		if host != "b1.example.com" || network != "ip" {
			return nil, errors.New("no such host")
		}
		return []netip.Addr{netip.MustParseAddr("192.0.2.7")}, nil
	}}
	named, literal, unknown := location("https://B1.example.com"), location("http://[2001:db8::1]:8080"), location("http://b2.example.com")
	f := p.Measure(t.Context(), failover.Needs{Addresses: true}, []failover.Location{named, literal, unknown})
	if len(f.Addresses) != 2 || f.Addresses[named.ID()][0].String() != "192.0.2.7" || f.Addresses[literal.ID()][0].String() != "2001:db8::1" {
		t.Errorf("addresses %v", f.Addresses)
	}
	if !slices.ContainsFunc(f.Own, func(p netip.Prefix) bool { return p.Contains(netip.MustParseAddr("127.0.0.1")) }) {
		t.Errorf("own addresses %v lack loopback", f.Own)
	}
}

func TestMeasureBandwidth(t *testing.T) {
	body := make([]byte, 200<<10)
	var mu sync.Mutex
	var paths []string
	busy, atOnce := 0, 0
	serve := func(pause time.Duration) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			paths = append(paths, r.URL.Path+" "+r.Header.Get("Range"))
			busy++
			atOnce = max(atOnce, busy)
			mu.Unlock()
			time.Sleep(pause)
			_, _ = w.Write(body)
			mu.Lock()
			busy--
			mu.Unlock()
		}
	}
	narrow, wide, none := server(t, serve(200*time.Millisecond)), server(t, serve(0)), server(t, answer(404))
	p := &probe.Prober{Environment: noProxy, Object: "Packages/some file.osd"}
	ls := []failover.Location{narrow, wide, none, gone(t)}
	f := p.Measure(t.Context(), failover.Needs{Bandwidth: true}, ls)
	if len(f.Bandwidth) != 2 || f.Bandwidth[wide.ID()] <= f.Bandwidth[narrow.ID()] {
		t.Errorf("bandwidths %v", f.Bandwidth)
	}
	if limit := float64(len(body)) / 0.2; f.Bandwidth[narrow.ID()] > limit {
		t.Errorf("%v bytes/s through a server that takes 200 ms for %d", f.Bandwidth[narrow.ID()], len(body))
	}
	if atOnce != 1 || paths[0] != "/ManageSoftDL/Packages/some file.osd bytes=0-1048575" {
		t.Errorf("%d at once, asked for %q", atOnce, paths)
	}
	p.Object = ""
	if f := p.Measure(t.Context(), failover.Needs{Bandwidth: true}, ls); len(f.Bandwidth) > 0 {
		t.Errorf("measured with nothing to download: %v", f.Bandwidth)
	}
}

// A server that sends without end is read up to the bound only.
func TestMeasureBandwidthIsBounded(t *testing.T) {
	var sent int
	done := make(chan struct{})
	l := server(t, func(w http.ResponseWriter, _ *http.Request) {
		defer close(done)
		for chunk := make([]byte, 64<<10); sent < 64<<20; sent += len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	p := &probe.Prober{Environment: noProxy, Object: "x"}
	if f := p.Measure(t.Context(), failover.Needs{Bandwidth: true}, []failover.Location{l}); f.Bandwidth[l.ID()] <= 0 {
		t.Error("not measured")
	}
	<-done
	if sent >= 64<<20 {
		t.Error("read to the end")
	}
}
