package e2e

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"inventorybeacon/uploads"
)

// A narrow line lets bytes through to a server at a bounded rate, so that a
// transfer can be met in its middle. The server may change its address.
type narrow struct {
	ln     net.Listener
	rate   int64 // bytes a second towards the server; 0 for no bound
	passed atomic.Int64
	to     atomic.Pointer[string]
	wg     sync.WaitGroup
}

func newNarrow(t *testing.T, rate int64) *narrow {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &narrow{ln: ln, rate: rate}
	n.wg.Go(n.run)
	t.Cleanup(func() {
		ln.Close()
		n.wg.Wait()
	})
	return n
}

func (n *narrow) url() string { return "http://" + n.ln.Addr().String() }

func (n *narrow) lead(url string) {
	addr := strings.TrimPrefix(url, "http://")
	n.to.Store(&addr)
}

func (n *narrow) run() {
	for {
		in, err := n.ln.Accept()
		if err != nil {
			return
		}
		n.wg.Go(func() { n.join(in) })
	}
}

func (n *narrow) join(in net.Conn) {
	defer in.Close()
	out, err := net.DialTimeout("tcp", *n.to.Load(), 5*time.Second)
	if err != nil {
		return
	}
	defer out.Close()
	var both sync.WaitGroup
	both.Go(func() { n.copy(out, in); out.Close(); in.Close() })
	both.Go(func() { io.Copy(in, out); out.Close(); in.Close() })
	both.Wait()
}

func (n *narrow) copy(dst io.Writer, src io.Reader) {
	buf := make([]byte, 16<<10)
	for {
		m, err := src.Read(buf)
		n.passed.Add(int64(m))
		if _, werr := dst.Write(buf[:m]); werr != nil || err != nil {
			return
		}
		if n.rate > 0 {
			time.Sleep(time.Duration(int64(m) * int64(time.Second) / n.rate))
		}
	}
}

// An agent is one running beacon-agent.
type agent struct {
	data string
	cmd  *exec.Cmd
	log  *log
}

func startAgent(t *testing.T, args ...string) *agent {
	t.Helper()
	a := &agent{data: filepath.Join(t.TempDir(), "agent"), log: &log{}}
	a.cmd = exec.Command(program("beacon-agent"), append([]string{"run", "--data", a.data}, args...)...)
	a.cmd.Stdout, a.cmd.Stderr = a.log, a.log
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.cmd.Process.Signal(syscall.SIGTERM)
		if err := a.cmd.Wait(); err != nil {
			t.Errorf("the agent ended with %v", err)
		}
		if t.Failed() {
			t.Logf("agent:\n%s", a.log)
		}
	})
	return a
}

// leave puts a complete file into the agent's outbox.
func (a *agent) leave(t *testing.T, kind, name string, body []byte) {
	t.Helper()
	dir := filepath.Join(a.data, "outbox", kind)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	tmp := filepath.Join(dir, "."+name)
	if err := os.WriteFile(tmp, body, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// TestFailoverGoesOnAndComesBack kills the preferred of three beacons in the
// middle of an upload: the file arrives once, through the next one, and the
// agent goes back to the preferred one when that is healthy again.
func TestFailoverGoesOnAndComesBack(t *testing.T) {
	t.Parallel()
	line := newNarrow(t, 4<<20)
	data := func(n int) string { return filepath.Join(t.TempDir(), fmt.Sprintf("beacon%d", n)) }
	dirs := []string{data(1), data(2), data(3)}
	var beacons [3]*server
	for i := range beacons {
		beacons[i] = start(t, dirs[i])
	}
	line.lead(beacons[0].Agents)
	publishEverywhere(t, beacons[:], []string{line.url(), beacons[1].Agents, beacons[2].Agents})

	a := startAgent(t, "--beacon", beacons[2].Agents, "--name", "ws1", "--domain", "EXAMPLE")
	eventually(t, time.Minute, "the agent has its policy", func() bool { return strings.Contains(a.log.String(), "policy in force") })
	a.leave(t, "Logs", "first.log", []byte("first"))
	eventually(t, time.Minute, "the agent uses the preferred beacon", func() bool {
		return arrivedAt(t, dirs[0], uploads.DigestOf([]byte("first"))) == 1
	})

	big := make([]byte, 24<<20)
	rand.NewChaCha8([32]byte{1}).Read(big)
	before := line.passed.Load()
	a.leave(t, "Logs", "big.log", big)
	eventually(t, time.Minute, "the upload is in its middle", func() bool { return line.passed.Load()-before > 8<<20 })
	beacons[0].kill()
	if n := line.passed.Load() - before; n >= int64(len(big)) {
		t.Fatalf("%d bytes had passed: not its middle", n)
	}
	digest := uploads.DigestOf(big)
	eventually(t, 2*time.Minute, "the file arrives through the next beacon", func() bool { return arrivedAt(t, dirs[1], digest) == 1 })

	beacons[0] = start(t, dirs[0])
	line.lead(beacons[0].Agents)
	n := 0
	eventually(t, 3*time.Minute, "the agent goes back to the preferred beacon", func() bool {
		n++
		body := fmt.Appendf(nil, "after %d", n)
		a.leave(t, "Logs", fmt.Sprintf("after%d.log", n), body)
		time.Sleep(3 * time.Second)
		return arrivedAt(t, dirs[0], uploads.DigestOf(body)) == 1
	})
	total := 0
	for _, dir := range dirs {
		total += arrivedAt(t, dir, digest)
	}
	if total != 1 {
		t.Errorf("the file arrived %d times", total)
	}
}

// publishEverywhere publishes a failover list on the first beacon and copies the
// revision to the others.
func publishEverywhere(t *testing.T, beacons []*server, urls []string) {
	t.Helper()
	var list bytes.Buffer
	for i, u := range urls {
		fmt.Fprintf(&list, "    - {name: b%d, url: %q, priority: %d}\n", i+1, u, 10*(i+1))
	}
	dir := filepath.Join(t.TempDir(), "fleet")
	writeFolder(t, dir, map[string]string{"bundle.yaml": `bundle: fleet
applies_to: {devices: ["*"]}
schedule:
  - event: Update Machine Policy
    run: policy
    triggers: [{type: daily, at: "00:05", window: 1h}]
failover:
  beacons:
` + list.String()})
	if _, said, err := command(t.Context(), "beacon", "policy", "publish", dir, "--data", beacons[0].Data); err != nil {
		t.Fatalf("publish: %v: %s", err, said)
	}
	file := filepath.Join(t.TempDir(), "revision.tar")
	if _, said, err := command(t.Context(), "beacon", "policy", "export", "-o", file, "--data", beacons[0].Data); err != nil {
		t.Fatalf("export: %v: %s", err, said)
	}
	for _, b := range beacons[1:] {
		if _, said, err := command(t.Context(), "beacon", "policy", "import", file, "--data", b.Data); err != nil {
			t.Fatalf("import: %v: %s", err, said)
		}
	}
}

func arrivedAt(t *testing.T, data string, d uploads.Digest) int {
	t.Helper()
	have, err := files(filepath.Join(data, "relayed", "Incoming"))
	if err != nil {
		t.Fatal(err)
	}
	return have[d]
}
