package uploadstest

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A Fault is what a proxy does to a connection. Its fields say how far the
// connection gets.
type Fault struct {
	// Refuse closes every connection at once.
	Refuse bool
	// Hang reads nothing and says nothing.
	Hang bool
	// CutAfter closes the connection once that many bytes went up; 0 means never.
	CutAfter int64
	// CutAnswer lets the request through and closes the connection when the
	// answer begins.
	CutAnswer bool
	// BytesPerSecond is how fast bytes go up; 0 means as fast as they can.
	BytesPerSecond int
	// Answer is what every request is answered, raw, without asking the
	// destination.
	Answer string
}

// A Proxy stands in front of a destination and does it harm. It listens on a
// loopback port.
type Proxy struct {
	Addr string

	network, upstream string
	fault             atomic.Pointer[Fault]
	answers           atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// NewProxy starts a proxy to a destination; it ends with the test.
func NewProxy(t testing.TB, network, upstream string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), network: network, upstream: upstream, conns: map[net.Conn]bool{}}
	p.fault.Store(&Fault{})
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.closeAll()
		serving.Wait()
	})
	return p
}

// Set changes the fault of new connections and closes the old ones.
func (p *Proxy) Set(f Fault) {
	p.fault.Store(&f)
	p.closeAll()
}

// Drop closes the connections there are, as an idle time-out on the way does.
func (p *Proxy) Drop() { p.closeAll() }

// Cut returns how many answers were withheld by CutAnswer.
func (p *Proxy) Cut() int64 { return p.answers.Load() }

func (p *Proxy) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// track makes closeAll know c, until the function it returns is called.
func (p *Proxy) track(c net.Conn) func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
	return func() {
		c.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, c)
	}
}

func (p *Proxy) serve(down net.Conn) {
	defer p.track(down)()
	f := *p.fault.Load()
	switch {
	case f.Refuse:
		return
	case f.Hang:
		io.Copy(io.Discard, neverReader{down})
		return
	case f.Answer != "":
		answer(down, f.Answer)
		return
	}
	up, err := net.Dial(p.network, p.upstream)
	if err != nil {
		return
	}
	defer p.track(up)()
	p.pipe(down, up, f)
}

func (p *Proxy) pipe(down, up net.Conn, f Fault) {
	var both sync.WaitGroup
	both.Go(func() {
		// Whichever side ends, the other is closed too: half-closed connections
		// are not what these faults are about.
		defer up.Close()
		defer down.Close()
		io.Copy(up, shaped(down, f))
	})
	both.Go(func() {
		defer up.Close()
		defer down.Close()
		if f.CutAnswer {
			up.Read(make([]byte, 1))
			p.answers.Add(1)
			return
		}
		io.Copy(down, up)
	})
	both.Wait()
}

// shaped returns what of r goes up, as fast as f lets it.
func shaped(r io.Reader, f Fault) io.Reader {
	if f.CutAfter > 0 {
		r = io.LimitReader(r, f.CutAfter)
	}
	if f.BytesPerSecond > 0 {
		r = &slowReader{r: r, perSecond: f.BytesPerSecond}
	}
	return r
}

// answer says the same to every request on c, having read it.
func answer(c net.Conn, raw string) {
	in := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body)
		if _, err := io.WriteString(c, raw); err != nil {
			return
		}
	}
}

// neverReader waits for its connection to be closed without reading what
// arrives: the kernel's buffers fill, as with a peer that hangs.
type neverReader struct{ net.Conn }

func (r neverReader) Read([]byte) (int, error) {
	for {
		time.Sleep(10 * time.Millisecond)
		if err := r.SetReadDeadline(time.Time{}); err != nil {
			return 0, err
		}
	}
}

// A slowReader gives perSecond bytes a second, in tenths.
type slowReader struct {
	r         io.Reader
	perSecond int
}

func (r *slowReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p[:min(len(p), max(1, r.perSecond/10))])
	time.Sleep(time.Duration(n) * time.Second / time.Duration(r.perSecond))
	return n, err
}
