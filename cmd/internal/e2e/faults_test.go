//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"inventorybeacon/uploads"
)

// A patient is a beacon whose disk is ill, and what it acknowledged.
type patient struct {
	t     *testing.T
	s     *server
	store string // where its files go, on a disk that is well
	args  []string
	acked map[uploads.Digest]string // the name of each
	n     int
}

// newPatient starts a beacon with its data in data, and a policy in force.
func newPatient(t *testing.T, data, spool string) *patient {
	t.Helper()
	p := &patient{t: t, store: filepath.Join(t.TempDir(), "store"), acked: map[uploads.Digest]string{}}
	config := filepath.Join(t.TempDir(), "beacon.yaml")
	text := fmt.Sprintf(`
name: patient
listeners:
  - {address: "127.0.0.1:0", access: anonymous}
relay:
  - name: importer
    directory: {path: %q}
limits: {rates: {upload: {beacon: -1, child: -1, peer: -1, agent: -1}, ask: {beacon: -1, child: -1, peer: -1, agent: -1}}}
spool: {segment_bytes: 512KiB, %s}
`, p.store, spool)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.args = []string{"--config", config}
	p.s = start(t, data, p.args...)
	writeFolder(t, filepath.Join(data, "drop", "whole"), bundleFiles(1))
	eventually(t, readyWithin, "the policy is in force", inForce(t, p.s.Agents, 1))
	return p
}

// sizes are of a small inventory, of one in a file of its own in the spool, and
// of one that takes more than is collected in memory.
var sizes = []int{3000, 200 << 10, 1500 << 10}

// put sends a file, and wants its receipt or a refusal that says what it is: a
// problem document with a code, of a sort after which an agent sends again.
func (p *patient) put() (status int) {
	p.t.Helper()
	p.n++
	body := bytes.Repeat([]byte{byte(p.n)}, sizes[p.n%len(sizes)])
	body = fmt.Appendf(body, "file %d", p.n)
	name := fmt.Sprintf("pc1 at 20260101T%06d.log", p.n)
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPut, p.s.Agents+"/ManageSoftRL/Logs/"+url.PathEscape(name), bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := plainClient.Do(req)
	if err != nil {
		p.t.Fatalf("no answer: %v", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	var said struct {
		Code   string         `json:"code"`
		SHA256 uploads.Digest `json:"sha256"`
	}
	if err := json.Unmarshal(text, &said); err != nil {
		p.t.Fatalf("%s: %q: %v", resp.Status, text, err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		p.acked[uploads.DigestOf(body)] = name
	case http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusInsufficientStorage:
		if said.Code == "" || resp.Header.Get("Content-Type") != "application/problem+json" {
			p.t.Errorf("%s: %s %q", resp.Status, resp.Header.Get("Content-Type"), text)
		}
		if resp.StatusCode != http.StatusInternalServerError && resp.Header.Get("Retry-After") == "" {
			p.t.Errorf("%s without Retry-After", resp.Status)
		}
	default:
		p.t.Errorf("%s: %q", resp.Status, text)
	}
	return resp.StatusCode
}

// putSome sends one file of each size.
func (p *patient) putSome() (statuses []int) {
	p.t.Helper()
	for range sizes {
		statuses = append(statuses, p.put())
	}
	return statuses
}

// polls reports whether agents get their policy.
func (p *patient) polls() {
	p.t.Helper()
	if !inForce(p.t, p.s.Agents, 1)() {
		p.t.Error("agents do not get their policy")
	}
}

func (p *patient) ready() bool {
	resp, err := plainClient.Get(p.s.Admin + "/readyz")
	if err != nil {
		p.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (p *patient) tells(what string) {
	p.t.Helper()
	eventually(p.t, readyWithin, "status tells: "+what, func() bool {
		return slices.ContainsFunc(statusOf(p.t, p.s).Problems, func(s string) bool { return strings.Contains(s, what) })
	})
}

// recovers waits until the beacon takes files again, without having been started
// again, and is ready.
func (p *patient) recovers() {
	p.t.Helper()
	eventually(p.t, time.Minute, "it takes files again", func() bool {
		return !slices.ContainsFunc(p.putSome(), func(s int) bool { return s != http.StatusOK })
	})
	eventually(p.t, time.Minute, "it is ready again", p.ready)
}

// survives looks for everything that was acknowledged: in the store, and in the
// words of the beacon after it was killed and started again.
func (p *patient) survives() {
	p.t.Helper()
	if len(p.acked) == 0 {
		p.t.Fatal("nothing was acknowledged: this shows nothing")
	}
	eventually(p.t, 2*time.Minute, "all files are in the store", func() bool {
		have, err := files(filepath.Join(p.store, "Incoming"))
		if err != nil {
			p.t.Fatal(err)
		}
		for d := range p.acked {
			if have[d] != 1 {
				return false
			}
		}
		return true
	})
	p.s.kill()
	p.s = start(p.t, p.s.Data, p.args...)
	for d, name := range p.acked {
		resp, err := plainClient.Head(p.s.Agents + "/ManageSoftRL/Logs/" + url.PathEscape(name) + "?sha256=" + d.String())
		if err != nil {
			p.t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			p.t.Errorf("%s was acknowledged, and after the next start there is %s", name, resp.Status)
		}
	}
}

// needRoot ends a test that only root can do. make test is run by root.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skipf("SKIPPED %s: it takes root", t.Name())
	}
}

// fill takes all room below dir and returns how to give it back.
func fill(t *testing.T, dir string) (relieve func()) {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		_, err := f.Write(block)
		if errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// A full disk is refused with 507, at the watermark and where there is none, and
// forgotten as soon as there is room.
func TestFullDiskRefusesAndRecovers(t *testing.T) {
	needRoot(t)
	for _, spool := range []string{"min_free: 4MiB", "min_free: 1"} {
		t.Run(spool, func(t *testing.T) {
			t.Parallel()
			disk := t.TempDir()
			if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=48m"); err != nil {
				t.Skipf("SKIPPED %s: no file system can be mounted here: %v", t.Name(), err)
			}
			t.Cleanup(func() {
				if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
					t.Error(err)
				}
			})
			p := newPatient(t, filepath.Join(disk, "data"), spool)
			p.recovers()
			times := 3
			if spool == "min_free: 1" {
				times = 1 // small files find room in segments for a while
			}
			for range times {
				relieve := fill(t, disk)
				var last []int
				eventually(t, time.Minute, "there is no room", func() bool {
					last = p.putSome()
					return !slices.Contains(last, http.StatusOK)
				})
				if slices.ContainsFunc(last, func(s int) bool { return s != http.StatusInsufficientStorage }) {
					t.Errorf("on a full disk: %v", last)
				}
				p.polls()
				if spool == "min_free: 4MiB" { // else what is delivered makes a little room
					p.tells("room")
				}
				relieve()
				p.recovers()
			}
			p.survives()
		})
	}
}

// A fault is what system calls of a running program answer.
type fault struct {
	name, calls, errno string
	when               string // which of a thread's calls; empty for all
	refusesAll         bool   // nothing can be durable meanwhile
	noPolicy           bool   // nor can a policy be opened
}

var diskFaults = []fault{
	{name: "sync fails", calls: "fdatasync", errno: "EIO", refusesAll: true},
	{name: "sync finds no room", calls: "fdatasync", errno: "ENOSPC", refusesAll: true},
	{name: "write fails", calls: "pwrite64", errno: "EIO", refusesAll: true},
	{name: "write finds no room", calls: "pwrite64", errno: "ENOSPC", refusesAll: true},
	{name: "directory sync fails", calls: "fsync", errno: "EIO"},
	{name: "rename fails", calls: "/^rename", errno: "EIO"},
	{name: "rename finds no room", calls: "/^rename", errno: "ENOSPC"},
	{name: "open fails", calls: "openat", errno: "EIO", noPolicy: true},
	{name: "open finds no room", calls: "openat", errno: "ENOSPC", noPolicy: true},
	{name: "read-only", calls: "pwrite64,fdatasync,fsync,/^rename,/^unlink,/^mkdir,ftruncate", errno: "EROFS", refusesAll: true},
	{name: "sync fails now and then", calls: "fdatasync", errno: "EIO", when: "2+3"},
	{name: "write fails now and then", calls: "pwrite64", errno: "EIO", when: "2+5"},
}

// inflict makes system calls of a running beacon fail until cure is called.
func inflict(t *testing.T, s *server, f fault) (cure func()) {
	t.Helper()
	inject := "inject=" + f.calls + ":error=" + f.errno
	if f.when != "" {
		inject += ":when=" + f.when
	}
	cmd := exec.Command("strace", "-f", "-o", "/dev/null", "-e", "trace="+f.calls, "-e", inject, "-p", fmt.Sprint(s.cmd.Process.Pid))
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(said).ReadString('\n')
	if err != nil || !strings.Contains(line, "attached") {
		cmd.Process.Kill()
		cmd.Wait()
		t.Skipf("SKIPPED %s: strace cannot attach to a program here: %q, %v", t.Name(), line, err)
	}
	go io.Copy(io.Discard, said)
	return func() {
		cmd.Process.Signal(os.Interrupt) // it lets go of the program, as it is
		cmd.Wait()
	}
}

// Whatever the disk answers, the beacon acknowledges nothing that is not durable,
// says so, serves policy, and goes on by itself when the fault is over.
func TestDiskFaultsLoseNothing(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skipf("SKIPPED %s: strace is not installed (make test installs it)", t.Name())
	}
	needRoot(t)
	p := newPatient(t, filepath.Join(t.TempDir(), "data"), "min_free: 1MiB")
	p.recovers()
	for _, f := range diskFaults {
		if !full() && f.errno == "ENOSPC" {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			p.t = t
			p.suffer(f)
		})
	}
	p.t = t
	p.survives()
}

func (p *patient) suffer(f fault) {
	cure := inflict(p.t, p.s, f)
	defer func() { cure() }()
	var statuses []int
	for range 3 {
		statuses = append(statuses, p.putSome()...)
	}
	refused := slices.DeleteFunc(slices.Clone(statuses), func(s int) bool { return s == http.StatusOK })
	if f.refusesAll && len(refused) < len(statuses) {
		p.t.Errorf("acknowledged on a disk that keeps nothing: %v", statuses)
	}
	for _, s := range refused {
		if full := s == http.StatusInsufficientStorage; full != (f.errno == "ENOSPC" || f.errno == "EROFS") {
			p.t.Errorf("%s is answered %d", f.errno, s)
		}
	}
	if !f.noPolicy {
		p.polls()
	}
	switch {
	case f.refusesAll && f.errno == "ENOSPC":
		p.tells("room")
	case f.refusesAll:
		eventually(p.t, readyWithin, "it is not ready", func() bool { return !p.ready() })
		p.tells("not ready")
	}
	cure()
	cure = func() {}
	p.recovers()
	p.t.Logf("%v", statuses)
}
