//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"inventorybeacon/uploads/backoff"
)

// The bars on resident memory of an idle program, in MiB.
const (
	agentBar  = 30
	beaconBar = 60
	// memoryRuns is how often each program is started; the largest counts.
	memoryRuns = 3
	// idleAfter lets start-up, the first pull and the first garbage collections
	// pass: the runtime returns memory within a couple of minutes.
	idleAfter = 45 * time.Second
)

// benchMemory starts the programs as bin/ has them and looks at what they hold
// when nothing happens.
func benchMemory(ctx context.Context, dir string) ([]result, error) {
	if err := os.Setenv("BEACON_LOG_LEVEL", "error"); err != nil { // the table is what is to be read
		return nil, err
	}
	var beacons, agents []float64
	for i := range memoryRuns {
		b, a, err := idle(ctx, filepath.Join(dir, fmt.Sprintf("memory%d", i)))
		if err != nil {
			return nil, err
		}
		beacons, agents = append(beacons, b), append(agents, a)
	}
	rows := []result{atMost("beacon idle RSS", "MiB", beacons, beaconBar), atMost("agent idle RSS", "MiB", agents, agentBar)}
	for i := range rows {
		rows[i].Detail += fmt.Sprintf("; after %v idle", idleAfter)
	}
	return rows, nil
}

func idle(ctx context.Context, dir string) (beacon, agent float64, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, 0, err
	}
	b, err := start("bin/beacon", "serve", "--data", filepath.Join(dir, "beacon"), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	if err != nil {
		return 0, 0, fmt.Errorf("%w: make build first", err)
	}
	defer b.stop()
	_, rest, _ := strings.Cut(b.line, "agents=")
	url, _, _ := strings.Cut(rest, " ")
	a, err := spawn("bin/beacon-agent", "run", "--beacon", url, "--data", filepath.Join(dir, "agent"), "--name", "idle")
	if err != nil {
		return 0, 0, err
	}
	defer a.stop()
	if !backoff.Sleep(ctx, idleAfter) {
		return 0, 0, ctx.Err()
	}
	if beacon, err = b.mib(); err != nil {
		return 0, 0, err
	}
	agent, err = a.mib()
	return beacon, agent, err
}

func (c *child) mib() (float64, error) {
	n, err := rss(c.cmd.Process.Pid)
	return float64(n) / (1 << 20), err
}
