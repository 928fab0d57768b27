//go:build linux

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// overloadPlaces is how many uploads the beacon takes at once.
	overloadPlaces = 200
	// overloadMemory is the most resident memory it may ever have had.
	overloadMemory = 256 << 20
)

// overloaded starts a beacon that takes little at once, and publishes a policy.
func overloaded(t *testing.T) *server {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "beacon.yaml")
	text := fmt.Sprintf("limits: {in_flight: %d}\n", overloadPlaces)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, filepath.Join(dir, "data"), "--config", file, "--listen", "127.0.0.1:0")
	bundle := filepath.Join(s.Data, "drop", ".all")
	err := errors.Join(
		os.Mkdir(bundle, 0o755),
		os.WriteFile(filepath.Join(bundle, "bundle.yaml"), []byte("bundle: all\napplies_to: {devices: [\"*\"]}\n"+
			"schedule:\n  - {event: Update Machine Policy, run: policy, triggers: [{type: now}]}\n"), 0o644),
		os.Rename(bundle, filepath.Join(s.Data, "drop", "all")))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "a policy", func() bool {
		resp, err := plainClient.Get(s.Agents + overloadPolicy)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == 200
	})
	return s
}

const overloadPolicy = "/ManageSoftDL/Policies/Merged/WORKGROUP_domain/Machine/pc1.npl"

// peak is the most resident memory the beacon has had.
func (s *server) peak(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("no VmHWM in /proc")
	return 0
}

// dials opens n connections, some at a time: a listener's queue is finite.
func dials(t *testing.T, url string, n int) []net.Conn {
	t.Helper()
	out := make([]net.Conn, n)
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
				if err != nil {
					t.Error(err)
					return
				}
				out[i] = c
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	t.Cleanup(func() {
		for _, c := range out {
			c.Close()
		}
	})
	return out
}

// A crowd's answers, by status.
type answers struct {
	mu     sync.Mutex
	status map[int]int
	bad    map[string]int
}

func (a *answers) note(resp *http.Response) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status[resp.StatusCode]++
	switch after, err := strconv.Atoi(resp.Header.Get("Retry-After")); {
	case resp.StatusCode == 200:
	case resp.StatusCode != 429 && resp.StatusCode != 503:
		a.bad[resp.Status]++
	case err != nil || after < 1 || after > 3600:
		a.bad["Retry-After: "+resp.Header.Get("Retry-After")]++
	}
}

func (a *answers) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bad[err.Error()]++
}

// send sends one log and reads the answer.
func send(c net.Conn, r *bufio.Reader, name string, body []byte) (*http.Response, error) {
	head := fmt.Sprintf("PUT /ManageSoftRL/Logs/%s HTTP/1.1\r\nHost: b\r\nContent-Length: %d\r\n\r\n", name, len(body))
	bufs := net.Buffers{[]byte(head), body}
	if _, err := bufs.WriteTo(c); err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp, err
}

// Many more send at once than the beacon takes. Whoever is not served is told
// when to come back, memory stays bounded, and policy goes on.
func TestOverloadIsAnsweredWithTimesToComeBack(t *testing.T) {
	connections, long := 1000, 2*time.Second
	if full() {
		connections, long = 5000, 10*time.Second
	}
	s := overloaded(t)
	conns := dials(t, s.Agents, connections)
	got := &answers{status: map[int]int{}, bad: map[string]int{}}
	body := []byte(strings.Repeat("line\n", 4<<10)) // 20 KiB
	begin, end := make(chan struct{}), time.Now().Add(long+time.Hour)
	var senders sync.WaitGroup
	var stop atomic.Bool
	for i, c := range conns {
		c.SetDeadline(end)
		senders.Go(func() {
			r := bufio.NewReaderSize(c, 1<<10)
			<-begin
			for n := 0; !stop.Load(); n++ {
				resp, err := send(c, r, fmt.Sprintf("pc%d%%20at%%2020260101T%06d.log", i, n), append(fmt.Appendf(nil, "%d %d\n", i, n), body...))
				if err != nil {
					got.fail(err)
					return
				}
				got.note(resp)
				if resp.Close {
					return
				}
			}
		})
	}
	close(begin)
	polls := poll(t, s, long)
	stop.Store(true)
	senders.Wait()
	t.Logf("%d connections: %v; %d polls; peak memory %d MiB", connections, got.status, polls, s.peak(t)>>20)
	if len(got.bad) > 0 {
		t.Errorf("neither a receipt nor a time to come back: %v", got.bad)
	}
	if got.status[200] == 0 || got.status[503] == 0 {
		t.Errorf("answers %v: overload was not met", got.status)
	}
	if peak := s.peak(t); peak > overloadMemory {
		t.Errorf("peak memory %d MiB", peak>>20)
	}
}

// poll fetches the policy again and again for so long; each must succeed.
func poll(t *testing.T, s *server, long time.Duration) (polls int) {
	t.Helper()
	for end := time.Now().Add(long); time.Now().Before(end); polls++ {
		resp, err := http.Get(s.Agents + overloadPolicy)
		if err != nil {
			t.Error(err)
			return polls
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("policy: %s", resp.Status)
			return polls
		}
	}
	return polls
}

// Ten times as many as the beacon takes at once send a byte a second. Honest
// senders get through meanwhile.
func TestSlowSendersDoNotStopHonestOnes(t *testing.T) {
	slow, honest := 500, 20
	if full() {
		slow, honest = 2000, 100
	}
	s := overloaded(t)
	conns := dials(t, s.Agents, slow)
	var stop atomic.Bool
	var crawl sync.WaitGroup
	defer crawl.Wait()
	defer stop.Store(true)
	crawl.Go(func() { crawlers(conns, &stop) })
	// All of them have said what they want to send; most wait in turn.
	got := map[int]int{}
	client := &http.Client{Timeout: time.Minute}
	for i := range honest {
		if !honestly(t, client, s, i, got) {
			break
		}
	}
	t.Logf("%d slow senders; honest ones were answered %v; peak memory %d MiB", slow, got, s.peak(t)>>20)
	if peak := s.peak(t); peak > overloadMemory {
		t.Errorf("peak memory %d MiB", peak>>20)
	}
}

// crawlers announce a body and send a byte of it each second. One that is turned
// away calls again.
func crawlers(conns []net.Conn, stop *atomic.Bool) {
	begin := func(i int) {
		fmt.Fprintf(conns[i], "PUT /ManageSoftRL/Logs/slow%d.log HTTP/1.1\r\nHost: b\r\nContent-Length: 20000\r\n\r\n", i)
	}
	for i := range conns {
		begin(i)
	}
	for !stop.Load() {
		time.Sleep(time.Second) // that is how slow they are
		for i := range conns {
			if _, err := conns[i].Write([]byte("x")); err == nil {
				continue
			}
			if c, err := net.Dial("tcp", conns[i].RemoteAddr().String()); err == nil {
				conns[i].Close()
				conns[i] = c
				begin(i)
			}
		}
	}
}

// honestly sends one log as an agent does, which comes back when it is told to,
// and reports whether it arrived within two minutes: on a machine that has nothing
// left, its turn may be that far.
func honestly(t *testing.T, client *http.Client, s *server, i int, got map[int]int) bool {
	t.Helper()
	for began := time.Now(); time.Since(began) < 2*time.Minute; {
		req, err := http.NewRequest(http.MethodPut, fmt.Sprintf("%s/ManageSoftRL/Logs/honest%d.log", s.Agents, i), strings.NewReader(fmt.Sprint("honest ", i)))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Error(err)
			return false
		}
		resp.Body.Close()
		got[resp.StatusCode]++
		if resp.StatusCode == 200 {
			return true
		}
		after, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if err != nil || !slices.Contains([]int{429, 503}, resp.StatusCode) {
			t.Errorf("%s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
			return false
		}
		time.Sleep(time.Duration(after) * time.Second)
	}
	t.Errorf("honest sender %d did not get through; answers %v", i, maps.Clone(got))
	return false
}
