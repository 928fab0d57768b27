package beacon

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"testing"
)

// A caller is a connection that nothing is sent over.
type caller struct {
	net.Conn
	from   string
	closed bool
}

func (c *caller) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(c.from), 1000))
}

func (c *caller) Close() error { c.closed = true; return nil }

// callers is a listener with a queue of connections.
type callers struct {
	net.Listener
	queue []*caller
}

func (l *callers) Accept() (net.Conn, error) {
	if len(l.queue) == 0 {
		return nil, errors.New("nobody calls")
	}
	c := l.queue[0]
	l.queue = l.queue[1:]
	return c, nil
}

// call has one more connect, and returns its connection and whether it was taken.
func call(t *testing.T, c *crowd, from string) (net.Conn, *caller) {
	t.Helper()
	it := &caller{from: from}
	c.Listener = &callers{queue: []*caller{it}}
	conn, err := c.Accept()
	if (err == nil) == it.closed {
		t.Fatalf("accepted: %v, closed: %v", err, it.closed)
	}
	return conn, it
}

func nobody(netip.Addr) bool { return false }

func TestConnectionBeyondLimitIsClosed(t *testing.T) {
	c := newCrowd(2, 0, nobody)
	first, _ := call(t, c, "192.0.2.1")
	call(t, c, "192.0.2.2")
	if conn, _ := call(t, c, "192.0.2.3"); conn != nil {
		t.Error("a third was taken")
	}
	first.Close()
	first.Close() // the server closes more than once
	if conn, _ := call(t, c, "192.0.2.3"); conn == nil {
		t.Error("a third was not taken although one had left")
	}
	if conn, _ := call(t, c, "192.0.2.4"); conn != nil {
		t.Error("closing twice made room twice")
	}
	if n := c.count(); n.taken != 2 || n.turnedAway != 2 || n.givenUp != 0 {
		t.Errorf("%+v", n)
	}
}

// Who is only kept alive makes room, the one that has been for longest first;
// who is busy does not.
func TestIdleConnectionIsGivenUpFirst(t *testing.T) {
	c := newCrowd(3, 0, nobody)
	a, callerA := call(t, c, "192.0.2.1")
	b, callerB := call(t, c, "192.0.2.2")
	_, callerC := call(t, c, "192.0.2.3")
	c.state(b, http.StateIdle)
	c.state(a, http.StateIdle)
	c.state(a, http.StateActive)
	c.state(a, http.StateIdle)
	for i, want := range []*caller{callerB, callerA} {
		if conn, _ := call(t, c, "192.0.2.9"); conn == nil || !want.closed {
			t.Errorf("%d: taken %v, the idle one closed: %v", i, conn != nil, want.closed)
		}
	}
	if conn, _ := call(t, c, "192.0.2.9"); conn != nil || callerC.closed {
		t.Error("a busy connection was given up")
	}
	c.state(b, http.StateIdle) // the server has not noticed yet
	b.Close()
	if n := c.count(); n.taken != 3 || n.idle != 0 || n.givenUp != 2 {
		t.Errorf("%+v", n)
	}
}

func TestOneAddressCannotHoldAll(t *testing.T) {
	proxy := netip.MustParseAddr("192.0.2.100")
	c := newCrowd(8, 3, func(a netip.Addr) bool { return a == proxy })
	var mine []net.Conn
	for range 3 {
		conn, _ := call(t, c, "192.0.2.1")
		mine = append(mine, conn)
	}
	if conn, _ := call(t, c, "::ffff:192.0.2.1"); conn != nil {
		t.Error("a fourth of one address was taken")
	}
	if conn, _ := call(t, c, "192.0.2.2"); conn == nil {
		t.Error("another address was not taken")
	}
	c.state(mine[0], http.StateIdle)
	if conn, _ := call(t, c, "192.0.2.1"); conn == nil {
		t.Error("its own idle one did not make room")
	}
	for range 4 {
		if conn, _ := call(t, c, proxy.String()); conn == nil {
			t.Error("a proxy is one address too many")
		}
	}
	if n := c.count(); n.taken != 8 || n.peerTurnedAway != 1 || n.givenUp != 1 {
		t.Errorf("%+v", n)
	}
}
