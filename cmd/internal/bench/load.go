//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// A request makes the n-th request of a load: its header lines up to and with
// the empty one, and its body.
type request func(n int) (head string, body []byte)

// load sends total requests from clients connections, each one after the other,
// and returns how many a second were answered with status. It writes requests
// by hand: the client shares the machine with the server, and what a client
// library costs would blur the difference between two servers. Nor does the client
// collect garbage meanwhile: with all bodies in memory that takes a processor.
func load(addr string, clients, total, status int, req request) (float64, error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, clients)
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	start := time.Now()
	for c := range clients {
		wg.Go(func() { errs[c] = client(addr, &next, total, status, req) })
	}
	wg.Wait()
	took := time.Since(start)
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return float64(total) / took.Seconds(), nil
}

func client(addr string, next *atomic.Int64, total, status int, req request) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		n := int(next.Add(1)) - 1
		if n >= total {
			return nil
		}
		head, body := req(n)
		bufs := net.Buffers{[]byte(head), body}
		if _, err := bufs.WriteTo(conn); err != nil {
			return err
		}
		if err := answer(r, status); err != nil {
			return fmt.Errorf("request %d: %w", n, err)
		}
	}
}

func answer(r *bufio.Reader, status int) error {
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != status {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
		return fmt.Errorf("%s: %s", resp.Status, text)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
