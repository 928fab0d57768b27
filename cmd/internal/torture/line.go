//go:build linux

package main

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
)

// A line is a TCP proxy with an address of its own, which outlives the server
// behind it. While it is bad it cuts connections.
type line struct {
	listener net.Listener
	bad      atomic.Bool
	cuts     atomic.Int64
	serving  sync.WaitGroup

	mu   sync.Mutex
	to   string
	open map[net.Conn]bool
}

func newLine() (*line, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &line{listener: l, open: map[net.Conn]bool{}}
	c.serving.Go(func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			c.serving.Go(func() { c.carry(down) })
		}
	})
	return c, nil
}

func (c *line) address() string { return c.listener.Addr().String() }

// lead changes where new connections go.
func (c *line) lead(to string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.to = to
}

func (c *line) close() {
	c.listener.Close()
	c.mu.Lock()
	for conn := range c.open {
		conn.Close()
	}
	c.mu.Unlock()
	c.serving.Wait()
}

func (c *line) carry(down net.Conn) {
	defer down.Close()
	c.mu.Lock()
	to := c.to
	c.open[down] = true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.open, down)
	}()
	up, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer up.Close()
	upMost, downMost := c.limits()
	var answers sync.WaitGroup
	answers.Go(func() { c.pipe(down, up, downMost); down.Close(); up.Close() })
	c.pipe(up, down, upMost)
	up.Close()
	down.Close()
	answers.Wait()
}

const (
	// unlimited is more than any connection carries.
	unlimited = 1 << 50
	// cutUp is where in what a sender sends a connection is cut at the latest:
	// within the first few files, or parts.
	cutUp = 160 << 10
	// cutDown is where in the answers it is cut at the latest: most often before the
	// first is through, so that the sender does not learn that its file is held.
	cutDown = 1 << 10
)

// limits say after how many bytes a new connection is cut.
func (c *line) limits() (up, down int64) {
	if !c.bad.Load() {
		return unlimited, unlimited
	}
	switch rand.IntN(5) {
	case 0, 1:
		return rand.Int64N(cutUp), unlimited
	case 2:
		return unlimited, rand.Int64N(cutDown)
	default:
		return unlimited, unlimited
	}
}

func (c *line) pipe(to io.Writer, from io.Reader, most int64) {
	if _, err := io.CopyN(to, from, most); err == nil {
		c.cuts.Add(1)
	}
}
