//go:build linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A program is one that runs.
type program struct {
	cmd   *exec.Cmd
	ready chan string // its first line
	done  chan struct{}
	said  tail
}

// start runs a program, which ends when this one does.
func start(env []string, name string, args ...string) (*program, error) {
	p := &program{cmd: exec.Command(name, args...), ready: make(chan string, 1), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = &p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		line, _ := bufio.NewReader(out).ReadString('\n')
		p.ready <- line
		p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// kill gives a program no chance to end in order.
func (p *program) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// ended is the error of a program that ended by itself.
func (p *program) ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended by itself:\n%s", p.cmd.Path, p.said.String())
	default:
		return nil
	}
}

// readyWithin is how long a beacon may take to start on a busy machine.
const readyWithin = time.Minute

// address waits until a beacon serves and returns where its agents connect.
func (p *program) address() (string, error) {
	select {
	case line := <-p.ready:
		for word := range strings.FieldsSeq(line) {
			if at, ok := strings.CutPrefix(word, "agents="); ok {
				u, err := url.Parse(at)
				if err != nil {
					return "", err
				}
				return u.Host, nil
			}
		}
	case <-time.After(readyWithin):
	}
	p.kill()
	return "", fmt.Errorf("%s does not serve:\n%s", p.cmd.Path, p.said.String())
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
