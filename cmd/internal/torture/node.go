//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"inventorybeacon/beacon/desk"
	"inventorybeacon/cmd/internal/child"
	"inventorybeacon/uploads/backoff"
)

// A node is a beacon that is killed now and then. The line before it keeps its
// address.
type node struct {
	name, binary, dir string
	env               []string
	line              *line

	mu      sync.Mutex
	program *child.Program
	at      string // where it serves
}

// unlimited rates: one machine sends what a fleet would.
const config = `name: %s
listeners:
  - {address: "127.0.0.1:0", access: anonymous}
relay:
  - name: up
    %s
spool: {segment_bytes: %d, min_free: 1MiB}
limits:
  connections_per_peer: -1
  rates:
    upload: {beacon: -1, child: -1, peer: -1, agent: -1}
    ask: {beacon: -1, child: -1, peer: -1, agent: -1}
log: {level: warn}
`

// segmentBytes are few, so that segments are freed and used again all the time.
const segmentBytes = 64 << 10

func newNode(name, binary, dir, sink string, env []string) (*node, error) {
	n := &node{name: name, binary: binary, dir: filepath.Join(dir, name), env: env}
	if err := os.Mkdir(n.dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(n.config(), fmt.Appendf(nil, config, name, sink, segmentBytes), 0o600); err != nil {
		return nil, err
	}
	var err error
	n.line, err = newLine()
	return n, err
}

func (n *node) config() string { return filepath.Join(n.dir, "beacon.yaml") }
func (n *node) data() string   { return filepath.Join(n.dir, "data") }

// root is where others upload to, through the line.
func (n *node) root() string { return "http://" + n.line.address() + "/ManageSoftRL" }

// direct is where it can be asked past the line.
func (n *node) direct() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return "http://" + n.at + "/ManageSoftRL"
}

func (n *node) start() (*child.Program, error) {
	return child.Start(n.env, n.binary, "serve", "--config", n.config(), "--data", n.data(), "--admin", "127.0.0.1:0")
}

// up starts the beacon and leads its line to it.
func (n *node) up() error {
	p, err := n.start()
	if err != nil {
		return err
	}
	at, err := p.Agents()
	if err != nil {
		return err
	}
	n.line.lead(at.Host)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.program, n.at = p, at.Host
	return nil
}

// kill ends the beacon at once. That it ended by itself is an error, unless it is
// built with a bug: then the bug's other effects are looked for.
func (n *node) kill() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.program.Ended(); err != nil && len(n.env) == 0 {
		return err
	}
	n.program.Kill()
	return nil
}

// stumble starts the beacon and kills it a moment later, wherever it is by then.
func (n *node) stumble(ctx context.Context, after time.Duration) error {
	p, err := n.start()
	if err != nil {
		return err
	}
	backoff.Sleep(ctx, after)
	defer p.Kill()
	if len(n.env) > 0 {
		return nil
	}
	return p.Ended()
}

func (n *node) close() {
	if n.line != nil {
		n.line.close()
	}
	if n.program != nil {
		n.program.Kill()
	}
}

// ask runs an operator's command on the beacon and decodes what it prints.
func (n *node) ask(ctx context.Context, out any, args ...string) error {
	cmd := exec.CommandContext(ctx, n.binary, append(args, "--json", "--data", n.data())...)
	var said strings.Builder
	cmd.Stderr = &said
	cmd.Env = append(os.Environ(), n.env...)
	b, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: beacon %s: %w: %s", n.name, strings.Join(args, " "), err, said.String())
	}
	return json.Unmarshal(b, out)
}

func (n *node) status(ctx context.Context) (st desk.Status, err error) {
	err = n.ask(ctx, &st, "status")
	return st, err
}

// drained reports whether nothing waits any longer. Everything is offered again
// now, as if nothing had happened: the gaps between attempts have grown long.
func (n *node) drained(ctx context.Context) (bool, error) {
	st, err := n.status(ctx)
	if err != nil || st.Spool.Files == 0 {
		return st.Spool.Files == 0, err
	}
	var offered any
	return false, n.ask(ctx, &offered, "uploads", "requeue", "--all")
}
