// Package probe measures what package failover decides by: how fast servers
// answer, how wide the way to them is, and where this machine is itself. It
// connects to the locations it is given and to their proxies, and to nothing else.
package probe

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"inventorybeacon/failover"
)

const (
	// defaultTimeout bounds one measurement: a transfer waits for it.
	defaultTimeout = 3 * time.Second
	// parallel is how many servers are measured at once: enough for any list
	// made by hand, few enough for a small machine's file descriptors.
	parallel = 32
	// objectBytes is how much MgsBandwidth downloads at most. More measures a
	// wide way better and costs more on a narrow one.
	objectBytes = 1 << 20
)

// A Prober measures. The zero value is ready for use; fields are set before.
type Prober struct {
	// Timeout bounds each measurement; 0 means 3 s. A longer one finds slow
	// servers; a shorter one delays the transfer that waits for the order less.
	Timeout time.Duration
	// TLS is the configuration for https locations.
	TLS *tls.Config
	// Dial opens connections; nil means a plain net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Environment says which proxy a location without one of its own is reached
	// by; nil means http.ProxyFromEnvironment.
	Environment func(*http.Request) (*url.URL, error)
	// Lookup resolves host names; nil means net.DefaultResolver's LookupNetIP.
	Lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
	// Object is what MgsBandwidth downloads, a path below the download root. A
	// location's bandwidth is unknown if it is empty.
	Object string
}

// Check asks l whether it serves, and returns how long the answer took. A server
// that answers with an error of its own (5xx) does not serve, nor does whoever
// answers in its place with a redirect or a demand of a proxy.
func (p *Prober) Check(ctx context.Context, l failover.Location) (time.Duration, error) {
	began := time.Now()
	res, err := p.get(ctx, l, cmp.Or(l.Upload, l.Download), "", "")
	if err != nil {
		return 0, fmt.Errorf("probe %s: %w", l.Name, err)
	}
	defer res.Body.Close()
	if c := res.StatusCode; c >= 500 || c >= 300 && c < 400 || c == http.StatusProxyAuthRequired {
		return 0, fmt.Errorf("probe %s: answered %s", l.Name, res.Status)
	}
	return time.Since(began), nil
}

// Measure returns what need says of the locations, and where this machine is. A
// location that cannot be measured is left out of what it concerns. Bandwidths
// are measured one after another, so that they do not share the way; all else
// at once.
func (p *Prober) Measure(ctx context.Context, need failover.Needs, ls []failover.Location) failover.Facts {
	f := failover.Facts{
		RTT: map[string]time.Duration{}, Bandwidth: map[string]float64{}, Addresses: map[string][]netip.Addr{},
	}
	if need.Addresses {
		f.Own = Own()
		collect(ls, f.Addresses, func(l failover.Location) ([]netip.Addr, error) { return p.resolve(ctx, l) })
	}
	if need.RTT {
		collect(ls, f.RTT, func(l failover.Location) (time.Duration, error) { return p.ping(ctx, l) })
	}
	for _, l := range ls {
		if need.Bandwidth && !l.Invalid {
			if b, err := p.bandwidth(ctx, l); err == nil {
				f.Bandwidth[l.ID()] = b
			}
		}
	}
	return f
}

// collect measures every usable location in parallel and keeps what succeeds.
func collect[V any](ls []failover.Location, into map[string]V, measure func(failover.Location) (V, error)) {
	var mu sync.Mutex
	var all errgroup.Group
	all.SetLimit(parallel)
	for _, l := range ls {
		if l.Invalid {
			continue
		}
		all.Go(func() error {
			v, err := measure(l)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				into[l.ID()] = v
			}
			return nil // one that fails says nothing of the others
		})
	}
	_ = all.Wait()
}

// Own returns this machine's addresses with their prefix lengths, without those
// that every network has (link-local).
func Own() []netip.Prefix {
	addrs, _ := net.InterfaceAddrs() // an error leaves us nowhere, as having none does
	var out []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLinkLocalUnicast() {
			out = append(out, p)
		}
	}
	return out
}

func (p *Prober) resolve(ctx context.Context, l failover.Location) ([]netip.Addr, error) {
	ctx, cancel := p.bound(ctx)
	defer cancel()
	if a, err := netip.ParseAddr(l.Host()); err == nil {
		return []netip.Addr{a}, nil
	}
	lookup := p.Lookup
	if lookup == nil {
		lookup = net.DefaultResolver.LookupNetIP
	}
	return lookup(ctx, "ip", l.Host())
}

// ping returns how long it takes to connect to l, or, where a proxy is on the
// way, to have an answer through it.
func (p *Prober) ping(ctx context.Context, l failover.Location) (time.Duration, error) {
	u, err := url.Parse(l.ID())
	if err != nil {
		return 0, err
	}
	via, err := p.proxy(l, &http.Request{URL: u})
	if err != nil {
		return 0, err
	}
	if via != nil {
		return p.Check(ctx, l)
	}
	ctx, cancel := p.bound(ctx)
	defer cancel()
	return p.connect(ctx, net.JoinHostPort(u.Hostname(), port(u)))
}

func port(u *url.URL) string {
	if u.Scheme == "https" {
		return cmp.Or(u.Port(), "443")
	}
	return cmp.Or(u.Port(), "80")
}

// connect returns how long the TCP handshake took, without the name look-up and
// without the addresses tried in vain before.
func (p *Prober) connect(ctx context.Context, address string) (time.Duration, error) {
	var mu sync.Mutex
	began, shook := map[string]time.Time{"": time.Now()}, time.Duration(0)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		ConnectStart: func(_, addr string) {
			mu.Lock()
			defer mu.Unlock()
			began[addr] = time.Now()
		},
		ConnectDone: func(_, addr string, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err == nil && shook == 0 {
				shook = time.Since(began[addr])
			}
		},
	})
	conn, err := p.dial(ctx, "tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	mu.Lock()
	defer mu.Unlock()
	return cmp.Or(shook, time.Since(began[""])), nil
}

func (p *Prober) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if p.Dial != nil {
		return p.Dial(ctx, network, address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// bandwidth returns bytes a second of one bounded download, from the request on.
func (p *Prober) bandwidth(ctx context.Context, l failover.Location) (float64, error) {
	if p.Object == "" || l.Download == "" {
		return 0, fmt.Errorf("measure %s: nothing to download", l.Name)
	}
	var began time.Time
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { began = time.Now() },
	})
	res, err := p.get(ctx, l, l.Download, p.Object, fmt.Sprintf("bytes=0-%d", objectBytes-1))
	if err != nil {
		return 0, fmt.Errorf("measure %s: %w", l.Name, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusPartialContent {
		return 0, fmt.Errorf("measure %s: answered %s", l.Name, res.Status)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(res.Body, objectBytes))
	if took := time.Since(began); n > 0 && took > 0 {
		return float64(n) / took.Seconds(), nil // a slow way that was cut short is still measured
	}
	return 0, fmt.Errorf("measure %s: %d bytes: %w", l.Name, n, cmp.Or(err, io.ErrUnexpectedEOF))
}

// get asks for object below root on a connection of its own, so that every
// measurement goes all the way.
func (p *Prober) get(ctx context.Context, l failover.Location, root, object, span string) (*http.Response, error) {
	u, err := url.Parse(root)
	if err != nil {
		return nil, err
	}
	ctx, cancel := p.bound(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.JoinPath(cmp.Or(object, "/")).String(), nil)
	if err != nil {
		cancel()
		return nil, err
	}
	if span != "" {
		req.Header.Set("Range", span)
	}
	req.Header.Set("Accept-Encoding", "identity")
	res, err := p.transport(l).RoundTrip(req)
	if err != nil {
		cancel()
		return nil, err
	}
	res.Body = &bounded{res.Body, cancel}
	return res, nil
}

// A bounded body ends the time that its request was given when it is closed.
type bounded struct {
	io.ReadCloser
	done context.CancelFunc
}

func (b *bounded) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}

func (p *Prober) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, cmp.Or(p.Timeout, defaultTimeout))
}

func (p *Prober) transport(l failover.Location) *http.Transport {
	return &http.Transport{
		Proxy:             func(r *http.Request) (*url.URL, error) { return p.proxy(l, r) },
		DialContext:       p.dial,
		TLSClientConfig:   p.TLS.Clone(),
		DisableKeepAlives: true,
		ForceAttemptHTTP2: true,
	}
}

// proxy returns the proxy on the way to l, nil if there is none.
func (p *Prober) proxy(l failover.Location, r *http.Request) (*url.URL, error) {
	switch {
	case strings.EqualFold(l.Proxy, failover.Direct):
		return nil, nil
	case l.Proxy != "":
		return url.Parse(l.Proxy)
	case p.Environment != nil:
		return p.Environment(r)
	}
	return http.ProxyFromEnvironment(r)
}
