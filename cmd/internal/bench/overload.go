//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"inventorybeacon/uploads/backoff"
)

const (
	// overloadSenders send as fast as they are answered, into a beacon that takes
	// overloadPlaces uploads at once; they come before their time, too.
	overloadSenders = 5000
	overloadPlaces  = "200"
	overloadRuns    = 3
	overloadLasts   = 20 * time.Second
	// overloadPollers each fetch the policy every overloadPause.
	overloadPollers = 10
	overloadPause   = 50 * time.Millisecond
	// The bars.
	overloadP99    = 250 // ms
	overloadMemory = 256 // MiB
)

// benchOverload measures what is left of a beacon for policy while thousands
// want to send at once, and what it costs in memory.
func benchOverload(ctx context.Context, dir string) ([]result, error) {
	if err := os.Setenv("BEACON_LIMITS_IN_FLIGHT", overloadPlaces); err != nil {
		return nil, err
	}
	defer os.Unsetenv("BEACON_LIMITS_IN_FLIGHT")
	var p99, memory []float64
	var detail string
	for i := range overloadRuns {
		o, err := overload(ctx, filepath.Join(dir, fmt.Sprintf("overload%d", i)))
		if err != nil {
			return nil, err
		}
		slices.Sort(o.polls)
		p99 = append(p99, float64(o.polls[len(o.polls)*99/100].Microseconds())/1000)
		memory = append(memory, o.memory)
		detail = fmt.Sprintf("%d polls, median %v; %d uploads taken, %d told when to come back; %.1f s server CPU in %v",
			len(o.polls), o.polls[len(o.polls)/2].Round(time.Millisecond), o.taken, o.refused, o.cpu.Seconds(), overloadLasts)
	}
	latency := result{Name: "policy p99 under overload", Value: round(median(p99)), Unit: "ms", Bar: overloadP99, Pass: median(p99) <= overloadP99,
		Peer: "at most", Runs: overloadRuns, Detail: fmt.Sprintf("%.0f; last: %s", p99, detail)}
	most := slices.Max(memory)
	return []result{latency, {Name: "peak RSS under overload", Value: round(most), Unit: "MiB", Bar: overloadMemory, Pass: most <= overloadMemory,
		Peer: "at most", Runs: overloadRuns, Detail: fmt.Sprintf("%.0f with %d connections", memory, overloadSenders+overloadPollers)}}, nil
}

// An overloaded is what one run showed.
type overloaded struct {
	polls          []time.Duration
	taken, refused int64
	memory         float64 // MiB
	cpu            time.Duration
}

func overload(ctx context.Context, dir string) (o overloaded, err error) {
	if err := publish(ctx, filepath.Join(dir, "bundle"), filepath.Join(dir, "data", "policy")); err != nil {
		return o, err
	}
	c, err := launchBeacon(dir, relayRunning)
	if err != nil {
		return o, err
	}
	defer c.stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var senders, pollers sync.WaitGroup
	var taken, refused atomic.Int64
	failed := make(chan error, overloadSenders+overloadPollers)
	conns, err := connect(c.addr, overloadSenders)
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	if err != nil {
		return o, err
	}
	before := c.cpu()
	end := time.Now().Add(overloadLasts)
	for i, conn := range conns {
		senders.Go(func() { failed <- flood(conn, i, end, &taken, &refused) })
	}
	var mu sync.Mutex
	for i := range overloadPollers {
		pollers.Go(func() {
			took, err := pollUntil(ctx, c.addr, i, end)
			mu.Lock()
			o.polls = append(o.polls, took...)
			mu.Unlock()
			failed <- err
		})
	}
	pollers.Wait()
	senders.Wait()
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	o.taken, o.refused, o.cpu = taken.Load(), refused.Load(), c.cpu()-before
	if o.memory, err = c.peak(err); err == nil && (o.refused == 0 || len(o.polls) == 0) {
		err = errors.New("there was no overload")
	}
	return o, err
}

func connect(addr string, n int) (out []net.Conn, err error) {
	for range n {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return out, err
		}
		out = append(out, conn)
	}
	return out, nil
}

// flood sends until the end, whatever it is told.
func flood(conn net.Conn, i int, end time.Time, taken, refused *atomic.Int64) error {
	r := bufio.NewReaderSize(conn, 1<<10)
	body := bytes.Repeat([]byte("line of a log\n"), 1500) // 20 KB
	for n := 0; time.Now().Before(end); n++ {
		head := fmt.Sprintf("PUT /ManageSoftRL/Logs/ws%04d%%20at%%2020260101T%06d.log HTTP/1.1\r\nHost: beacon\r\nContent-Length: %d\r\n\r\n", i, n, len(body))
		copy(body, fmt.Sprint(i, " ", n, " "))
		bufs := net.Buffers{[]byte(head), body}
		if _, err := bufs.WriteTo(conn); err != nil {
			return fmt.Errorf("sender %d: %w", i, err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return fmt.Errorf("sender %d: %w", i, err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		_, nonsense := strconv.Atoi(resp.Header.Get("Retry-After"))
		switch status := resp.StatusCode; {
		case status == http.StatusOK:
			taken.Add(1)
		case nonsense == nil && (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable):
			refused.Add(1)
		default:
			return fmt.Errorf("sender %d: %s, Retry-After %q", i, resp.Status, resp.Header.Get("Retry-After"))
		}
	}
	return nil
}

// pollUntil fetches one device's policy again and again and returns how long each
// took.
func pollUntil(ctx context.Context, addr string, i int, end time.Time) (took []time.Duration, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for time.Now().Before(end) && backoff.Sleep(ctx, overloadPause) {
		start := time.Now()
		fmt.Fprintf(conn, "GET "+policyPath+" HTTP/1.1\r\nHost: beacon\r\n\r\n", i)
		if err := answer(r, http.StatusOK); err != nil {
			return took, fmt.Errorf("policy: %w", err)
		}
		took = append(took, time.Since(start))
	}
	return took, ctx.Err()
}

// peak is the most resident memory the child has had, in MiB.
func (c *child) peak(err error) (float64, error) {
	b, readErr := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err = errors.Join(err, readErr); err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			kib, err := strconv.ParseFloat(string(bytes.Fields(rest)[0]), 64)
			return kib / 1024, err
		}
	}
	return 0, errors.New("no VmHWM in /proc")
}
