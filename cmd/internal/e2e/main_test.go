// Package e2e tests the two programs as their users meet them: built, started,
// asked, killed. Scripts under testdata show one promise each.
package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// bin holds the programs under test.
var bin string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "e2e-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	cmd := exec.Command("go", "build", "-o", dir, "inventorybeacon/cmd/beacon", "inventorybeacon/cmd/beacon-agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the programs: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func program(name string) string { return filepath.Join(bin, name) }

// full reports whether the long form of a test was asked for, as make test does.
func full() bool { return os.Getenv("BEACON_TEST_FULL") != "" }

// rounds is n in the long form and few otherwise.
func rounds(n, few int) int {
	if full() {
		return n
	}
	return few
}

// A server is one running beacon.
type server struct {
	Agents, AgentsTLS, Admin, Data string

	cmd  *exec.Cmd
	done chan struct{}
	err  error
	log  *log
}

// readyWithin is how long a beacon may take to start on a busy machine.
const readyWithin = 30 * time.Second

// serve starts a beacon on data and waits until it says it is ready.
func serve(data string, args ...string) (*server, error) {
	args = append([]string{"serve", "--data", data, "--admin", "127.0.0.1:0"}, args...)
	if !strings.Contains(strings.Join(args, " "), "--listen") && !strings.Contains(strings.Join(args, " "), "--config") {
		args = append(args, "--listen", "127.0.0.1:0")
	}
	s := &server{Data: data, cmd: exec.Command(program("beacon"), args...), done: make(chan struct{}), log: &log{}}
	s.cmd.Stderr = s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(out).ReadString('\n')
		ready <- line
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	select {
	case line := <-ready:
		return s, s.parse(line)
	case <-time.After(readyWithin):
		s.kill()
		return nil, fmt.Errorf("not ready within %v:\n%s", readyWithin, s.log)
	}
}

func (s *server) parse(line string) error {
	words := strings.Fields(line)
	if len(words) == 0 || words[0] != "ready" {
		<-s.done
		return fmt.Errorf("no ready line but %q (%v):\n%s", line, s.err, s.log)
	}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "agents":
			s.Agents = value
		case "agents_tls":
			s.AgentsTLS = value
		case "admin":
			s.Admin = value
		}
	}
	return nil
}

// kill ends the beacon as a power switch would end a program.
func (s *server) kill() {
	s.cmd.Process.Kill()
	<-s.done
}

// stop drains the beacon and returns how it ended.
func (s *server) stop() error {
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
		return s.err
	case <-time.After(20 * time.Second):
		s.kill()
		return fmt.Errorf("did not drain:\n%s", s.log)
	}
}

// start is serve for a test that needs the beacon until its end.
func start(t *testing.T, data string, args ...string) *server {
	t.Helper()
	s, err := serve(data, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-s.done:
		default:
			if err := s.stop(); err != nil {
				t.Errorf("stop: %v", err)
			}
		}
		if t.Failed() {
			t.Logf("beacon on %s:\n%s", data, s.log)
		}
	})
	return s
}

// log keeps the end of what a program said.
type log struct {
	mu sync.Mutex
	b  []byte
}

const keepLog = 64 << 10

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	if over := len(l.b) - keepLog; over > 0 {
		l.b = l.b[over:]
	}
	return len(p), nil
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}

// eventually polls until ok holds, and fails the test if it does not in time.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// command runs a program to its end and returns what it said.
func command(ctx context.Context, name string, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, program(name), args...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// plainClient follows no redirect and keeps no connection, so that a killed
// beacon leaves nothing behind in it.
var plainClient = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       time.Minute,
}
