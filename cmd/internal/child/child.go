//go:build linux

// Package child runs the programs that a test rig kills.
package child

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

// A Program is one that runs. Whatever becomes of the rig, it ends with it.
type Program struct {
	// Said is the end of what it wrote to standard error.
	Said Tail

	cmd   *exec.Cmd
	ready chan string // its first line
	done  chan struct{}
}

// Start runs a program, with env beside the environment of this one. It gets a
// process group of its own, so that it ends when the rig wants it to, and not when
// somebody presses a key.
func Start(env []string, name string, args ...string) (*Program, error) {
	p := &Program{cmd: exec.Command(name, args...), ready: make(chan string, 1), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = &p.Said
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

// Kill ends a program as a cut of the power does, and waits until it has ended.
func (p *Program) Kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// Ended is the error of a program that ended by itself.
func (p *Program) Ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended by itself:\n%s", p.cmd.Path, &p.Said)
	default:
		return nil
	}
}

// ReadyWithin is how long a beacon may take to start on a busy machine.
const ReadyWithin = time.Minute

// Agents waits until a beacon serves and returns where its agents connect. One
// that does not is killed.
func (p *Program) Agents() (*url.URL, error) {
	select {
	case line := <-p.ready:
		for word := range strings.FieldsSeq(line) {
			if at, ok := strings.CutPrefix(word, "agents="); ok {
				return url.Parse(at)
			}
		}
	case <-time.After(ReadyWithin):
	}
	p.Kill()
	return nil, fmt.Errorf("%s does not serve:\n%s", p.cmd.Path, &p.Said)
}

// A Tail keeps the end of what is written to it.
type Tail struct {
	mu sync.Mutex
	b  []byte
}

const tailBytes = 16 << 10

// Write implements [io.Writer] and never fails.
func (t *Tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	t.b = t.b[max(0, len(t.b)-tailBytes):]
	return len(b), nil
}

func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.b))
}
