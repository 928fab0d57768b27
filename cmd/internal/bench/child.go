//go:build linux

package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A child is one contestant in a process of its own, so that its CPU time and
// memory can be told from the load's.
type child struct {
	cmd  *exec.Cmd
	line string // its first line of output
	addr string // the last word of it: where the load goes
}

// spawn runs a program that need not say anything.
func spawn(name string, args ...string) (*child, error) {
	cmd := exec.Command(name, args...)
	return &child{cmd: cmd}, cmd.Start()
}

// start runs a program whose first line of output ends in the address that the
// load goes to.
func start(name string, args ...string) (*child, error) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		cmd.Process.Kill()
		return nil, fmt.Errorf("%s said nothing: %w", name, err)
	}
	words := strings.Fields(line)
	return &child{cmd, line, words[len(words)-1]}, nil
}

// stop ends the child and waits for it.
func (c *child) stop() {
	c.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(10*time.Second, func() { c.cmd.Process.Kill() })
	defer timer.Stop()
	c.cmd.Wait()
}

// clockTicks is the kernel's unit of CPU time in /proc, fixed at 100 a second
// on every Linux there is.
const clockTicks = 100

// cpu is the CPU time the child and its workers have used.
func (c *child) cpu() (used time.Duration) {
	for _, pid := range append(workers(c.cmd.Process.Pid), c.cmd.Process.Pid) {
		f := stat(pid)
		if len(f) < 15 {
			continue
		}
		user, _ := strconv.ParseInt(f[11], 10, 64)
		sys, _ := strconv.ParseInt(f[12], 10, 64)
		used += time.Duration(user+sys) * time.Second / clockTicks
	}
	return used
}

// workers are the processes that a process began.
func workers(pid int) (pids []int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	for f := range strings.FieldsSeq(string(b)) {
		if n, err := strconv.Atoi(f); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}

// stat returns the fields of /proc/<pid>/stat from the third on: the second, the
// program's name, may hold spaces.
func stat(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.Fields(rest)
}

// rss is a process's resident memory in bytes.
func rss(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no VmRSS in /proc/%d/status", pid)
}

// measure runs one timed load against the child.
func (c *child) measure(clients, total, status int, req request) (sample, error) {
	before := c.cpu()
	rate, err := load(c.addr, clients, total, status, req)
	if err != nil {
		return sample{}, err
	}
	return sample{Rate: rate, CPU: float64((c.cpu() - before).Microseconds()) / float64(total)}, nil
}
