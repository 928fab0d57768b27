//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A program is one that runs.
type program struct {
	cmd  *exec.Cmd
	done chan struct{}
	said tail
}

// start runs a program; ready gets the first line it prints.
func start(name string, env []string, args ...string) (p *program, ready <-chan string, err error) {
	p = &program{cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = &p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // whatever becomes of us
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, nil, err
	}
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(out).ReadString('\n')
		line <- text
		p.cmd.Wait()
		close(p.done)
	}()
	return p, line, nil
}

// kill ends a program as a cut of the power does.
func (p *program) kill() {
	p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.done
}

// running tells whether it has not ended by itself, with what it said if it has.
func (p *program) running() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended by itself:\n%s", p.cmd.Path, p.said.String())
	default:
		return nil
	}
}

// readyWithin is how long a beacon may take to start on a busy machine.
const readyWithin = time.Minute

const (
	// sinkName is what both beacons call their destination.
	sinkName = "up"
	// segmentBytes are few, so that segments are freed and used again many times.
	segmentBytes = 256 << 10
)

// configure writes the configuration of a beacon with its files in data; above is
// where a beacon that is no parent relays to.
func configure(file string, r role, data, above string) error {
	up := "beacon: {url: " + above + "}"
	if r == parent {
		up = "directory: {path: " + filepath.Join(data, relayedDir) + "}"
	}
	text := fmt.Sprintf("name: %s\nrelay:\n  - name: %s\n    %s\nspool: {segment_bytes: %d, min_free: 1MiB}\n", r, sinkName, up, segmentBytes)
	if r == parent {
		text += fmt.Sprintf("kinds: {%s: {max: %d}}\n", refusedKind, refusedBytes)
	}
	return os.WriteFile(file, []byte(text), 0o600)
}

// serve starts a beacon and returns where its agents connect.
func serve(bin string, env []string, r role, dir, data, above string) (*program, *url.URL, error) {
	config := filepath.Join(dir, string(r)+".yaml")
	if err := configure(config, r, data, above); err != nil {
		return nil, nil, err
	}
	p, ready, err := start(filepath.Join(bin, "beacon"), env,
		"serve", "--config", config, "--data", data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	select {
	case line := <-ready:
		for word := range strings.FieldsSeq(line) {
			if at, ok := strings.CutPrefix(word, "agents="); ok {
				u, err := url.Parse(at)
				return p, u, err
			}
		}
	case <-time.After(readyWithin):
	}
	p.kill()
	return nil, nil, errors.New("the beacon does not serve:\n" + p.said.String())
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailBytes = 16 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	t.b = t.b[max(0, len(t.b)-tailBytes):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.b))
}
