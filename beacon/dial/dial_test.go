package dial_test

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"

	"inventorybeacon/beacon/dial"
)

// listen accepts connections until the test ends.
func listen(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return ln.Addr().String()
}

func TestGuardDialsOnlyUpstreams(t *testing.T) {
	up, other := listen(t), listen(t)
	_, port, _ := net.SplitHostPort(up)
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	for _, tt := range []struct {
		name, upstream, dial string
		networks             []netip.Prefix
		ok                   bool
	}{
		{"upstream", "http://" + up, up, nil, true},
		{"upstream by name", "http://LocalHost:" + port, "localhost:" + port, nil, true},
		{"another port", "http://" + up, other, nil, false},
		{"another name of the same host", "http://" + up, "localhost:" + port, nil, false},
		{"agent network", "http://" + up, up, []netip.Prefix{loopback}, false},
		{"agent network behind a name", "http://localhost:" + port, "localhost:" + port, []netip.Prefix{loopback, netip.MustParsePrefix("::1/128")}, false},
		{"agent network elsewhere", "http://" + up, up, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, err := dial.New([]string{tt.upstream}, tt.networks)
			if err != nil {
				t.Fatal(err)
			}
			var told []string
			g.Refuse = func(a, _ string) { told = append(told, a) }
			c, err := g.DialContext(t.Context(), "tcp", tt.dial)
			if err == nil {
				c.Close()
			}
			if tt.ok && (err != nil || g.Refused() != 0) {
				t.Errorf("dial = %v, %d refused", err, g.Refused())
			}
			if !tt.ok && (!errors.Is(err, dial.ErrRefused) || g.Refused() == 0 || int(g.Refused()) != len(told)) {
				t.Errorf("dial = %v, %d refused, told %q", err, g.Refused(), told)
			}
		})
	}
}

func TestGuardKnowsDefaultPorts(t *testing.T) {
	g, err := dial.New([]string{"https://Hub.example.com/ManageSoftRL", "http://hub.example.com", "https://[2001:db8::1]:9000"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"[2001:db8::1]:9000", "hub.example.com:443", "hub.example.com:80"}
	if got := g.Upstreams(); !slices.Equal(got, want) {
		t.Errorf("upstreams %q, want %q", got, want)
	}
	if _, err := dial.New([]string{"hub"}, nil); err == nil {
		t.Error("a bare word is taken as an upstream")
	}
}
