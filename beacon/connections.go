package beacon

import (
	"container/list"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// A crowd bounds the connections of a listener, so that they cannot take every
// file descriptor that the spool and the relay need, and one address cannot take
// them all. One too many is closed at once, before TLS; but one that is only
// kept alive makes room first.
type crowd struct {
	net.Listener
	limit, perPeer int // 0 is no bound
	// spares says which peers are many in truth, so that perPeer is not theirs.
	spares func(netip.Addr) bool

	mu    sync.Mutex
	taken int
	peers map[netip.Addr]*peer
	idle  list.List // of *guest, the longest idle first
	// What became of those there was no place for.
	turnedAway, peerTurnedAway, givenUp uint64
}

// A peer is the connections of one address.
type peer struct {
	taken int
	idle  list.List // of *guest
}

// A guest is one connection. Its elements are nil while it is busy.
type guest struct {
	net.Conn
	crowd          *crowd
	addr           netip.Addr
	gone           bool
	inCrowd, inOwn *list.Element
}

func newCrowd(limit, perPeer int, spares func(netip.Addr) bool) *crowd {
	return &crowd{limit: limit, perPeer: perPeer, spares: spares, peers: map[netip.Addr]*peer{}}
}

// Accept implements [net.Listener].
func (c *crowd) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g, victim := c.enter(conn)
		if victim != nil {
			victim.Conn.Close() // the server finds out by itself
		}
		if g != nil {
			return g, nil
		}
		conn.Close()
	}
}

// enter finds a place for a connection, by giving up an idle one if it must; nil
// if there is none.
func (c *crowd) enter(conn net.Conn) (g, victim *guest) {
	addr := addressOf(conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.peers[addr]
	switch {
	case c.perPeer > 0 && p != nil && p.taken >= c.perPeer && !c.spares(addr):
		if victim = first(&p.idle); victim == nil {
			c.peerTurnedAway++
			return nil, nil
		}
	case c.limit > 0 && c.taken >= c.limit:
		if victim = first(&c.idle); victim == nil {
			c.turnedAway++
			return nil, nil
		}
	}
	if victim != nil {
		c.leave(victim)
		c.givenUp++
	}
	g = &guest{Conn: conn, crowd: c, addr: addr}
	if p = c.peers[addr]; p == nil {
		p = &peer{}
		c.peers[addr] = p
	}
	p.taken++
	c.taken++
	return g, victim
}

func first(l *list.List) *guest {
	if e := l.Front(); e != nil {
		return e.Value.(*guest)
	}
	return nil
}

// leave takes a guest off the books.
func (c *crowd) leave(g *guest) {
	if g.gone {
		return
	}
	g.gone = true
	c.busy(g)
	c.taken--
	p := c.peers[g.addr]
	if p.taken--; p.taken == 0 {
		delete(c.peers, g.addr)
	}
}

func (c *crowd) busy(g *guest) {
	if g.inCrowd != nil {
		c.idle.Remove(g.inCrowd)
		c.peers[g.addr].idle.Remove(g.inOwn)
		g.inCrowd, g.inOwn = nil, nil
	}
}

// state is told by the server what a connection is doing.
func (c *crowd) state(conn net.Conn, s http.ConnState) {
	if t, secure := conn.(interface{ NetConn() net.Conn }); secure {
		conn = t.NetConn()
	}
	g, ours := conn.(*guest)
	if !ours {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy(g)
	if s == http.StateIdle && !g.gone {
		g.inCrowd, g.inOwn = c.idle.PushBack(g), c.peers[g.addr].idle.PushBack(g)
	}
}

// Close implements [net.Conn].
func (g *guest) Close() error {
	g.crowd.mu.Lock()
	g.crowd.leave(g)
	g.crowd.mu.Unlock()
	return g.Conn.Close()
}

// A crowdCount is how a listener is at one instant.
type crowdCount struct {
	taken, idle                         int
	turnedAway, peerTurnedAway, givenUp uint64
}

func (c *crowd) count() crowdCount {
	c.mu.Lock()
	defer c.mu.Unlock()
	return crowdCount{c.taken, c.idle.Len(), c.turnedAway, c.peerTurnedAway, c.givenUp}
}

func (c crowdCount) plus(o crowdCount) crowdCount {
	return crowdCount{c.taken + o.taken, c.idle + o.idle, c.turnedAway + o.turnedAway, c.peerTurnedAway + o.peerTurnedAway, c.givenUp + o.givenUp}
}

// addressOf is who is at the other end; none where a connection has no address.
func addressOf(conn net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
