// Package transport is how the agent speaks HTTP: one client for every
// request, that follows no redirect, notices a transfer that stands still, and
// does not mistake a dead kept-alive connection for a dead beacon.
package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"inventorybeacon/failover"
)

// Limits of one connection; those of a transfer are package stall's.
const (
	// DialTimeout bounds one connection attempt and one TLS handshake. A shorter
	// one walks a list with dead beacons sooner; a longer one spares slow links.
	DialTimeout = 10 * time.Second
	// idleTimeout closes kept-alive connections. A longer one saves handshakes
	// between two events; a shorter one saves the memory of an idle agent.
	idleTimeout = 20 * time.Second
)

// Options are what a client needs to know.
type Options struct {
	CA string // PEM file; empty means the system's authorities
	// Header is called for every request and its result added to it.
	Header func() http.Header
	// Proxy returns the proxy that the failover list names for an address, or
	// [failover.Direct]; nil, or the empty string, means the environment's.
	Proxy func(*url.URL) string
	// Dial opens connections; nil means a [net.Dialer].
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// New returns a client. Its Transport is safe for concurrent use; close idle
// connections with [http.Client.CloseIdleConnections].
func New(o Options) (*http.Client, error) {
	trust, err := TLS(o.CA)
	if err != nil {
		return nil, err
	}
	dial := o.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: DialTimeout, KeepAlive: idleTimeout}).DialContext
	}
	base := &http.Transport{
		Proxy:                  proxyOr(o.Proxy),
		DialContext:            dial,
		TLSClientConfig:        trust,
		TLSHandshakeTimeout:    DialTimeout,
		ExpectContinueTimeout:  2 * time.Second, // a peer that ignores Expect costs this much per large body
		MaxIdleConnsPerHost:    2,
		MaxIdleConns:           4,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		ReadBufferSize:         4 << 10,
		WriteBufferSize:        4 << 10,
		DisableCompression:     true, // digests and lengths are those of the bytes sent
	}
	if o.Header == nil {
		o.Header = func() http.Header { return nil }
	}
	return &http.Client{
		Transport:     &roundTripper{base: base, header: o.Header},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// TLS returns the configuration for beacons. With a file, its authorities and no
// others may vouch for them, so that one stolen public authority does not open
// a fleet that has its own.
func TLS(file string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if file == "" {
		return c, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("certificate authorities: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("certificate authorities: %s holds no PEM certificate", file)
	}
	return c, nil
}

// proxyOr asks the location's own word first, then the environment.
func proxyOr(location func(*url.URL) string) func(*http.Request) (*url.URL, error) {
	return func(req *http.Request) (*url.URL, error) {
		if location != nil {
			raw := location(req.URL)
			if raw == failover.Direct {
				return nil, nil
			}
			if raw != "" {
				u, err := url.Parse(raw)
				if err != nil {
					return nil, fmt.Errorf("proxy of the failover list: %w", err)
				}
				return u, nil
			}
		}
		return http.ProxyFromEnvironment(req)
	}
}
