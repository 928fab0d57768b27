//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"time"

	"inventorybeacon/cmd/internal/powercut/cutdisk"
)

func (c *campaign) run(ctx context.Context) (v verdict, err error) {
	dir, err := os.MkdirTemp("", "torture-")
	if err != nil {
		return v, err
	}
	defer os.RemoveAll(dir)
	if err := c.build(ctx, dir); err != nil {
		return v, err
	}
	lost, err := c.cutPower(ctx)
	if err != nil {
		return verdict{lost: lost}, err
	}
	v, err = c.torment(ctx, dir)
	v.lost += lost
	return v, err
}

// torment is the crash harness.
func (c *campaign) torment(ctx context.Context, dir string) (v verdict, err error) {
	began := time.Now()
	s, err := c.newSite(ctx, dir)
	if err != nil {
		return v, err
	}
	defer s.close()
	fmt.Printf("seed %d: %d devices, leaf, hub and store; %d kills\n", c.seed, devices+1, c.rounds)
	looking, enough := context.WithCancel(ctx)
	var witness sync.WaitGroup
	witness.Go(func() { s.witness(looking) })
	defer witness.Wait()
	defer enough()
	stop := s.load(ctx)
	err = s.rounds(ctx)
	if wrong := stop(); wrong != nil {
		err = errors.Join(err, fmt.Errorf("a device: %w", wrong))
	}
	s.calm()
	fmt.Printf("%v: %d kills are done, and so are the faults; what waits goes up\n", time.Since(began).Round(time.Second), s.kills)
	if err == nil {
		err = s.drain(ctx)
	}
	if err != nil {
		claims, doubles := s.ledger.snapshot()
		return verdict{rounds: s.kills, acknowledged: len(claims), doubled: len(doubles)}, err
	}
	v, err = s.examine(ctx)
	s.progress(s.kills)
	fmt.Printf("%v in all\n", time.Since(began).Round(time.Second))
	return v, err
}

// build makes the programs under test.
func (c *campaign) build(ctx context.Context, dir string) error {
	if c.bin != "" {
		return nil
	}
	c.bin = filepath.Join(dir, "bin")
	args := []string{"build", "-o", c.bin + "/"}
	if c.sabotage != "" {
		args = append(args, "-tags", "sabotage")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "inventorybeacon/cmd/beacon", "inventorybeacon/cmd/beacon-agent", "inventorybeacon/cmd/internal/powercut")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return nil
}

// foundLost is what powercut says last.
var foundLost = regexp.MustCompile(`^powercut: .* (\d+) lost,`)

// cutPower runs powercut and returns how many files it found lost.
func (c *campaign) cutPower(ctx context.Context) (lost int, err error) {
	if c.images == 0 {
		return 0, nil
	}
	if err := cutdisk.Possible(); err != nil {
		fmt.Printf("SKIPPED: no power is cut here: %v\n", err)
		return 0, nil
	}
	args := []string{"-images", strconv.Itoa(c.images), "-seed", strconv.FormatUint(c.seed, 10), "-bin", c.bin}
	if c.sabotage != "" {
		args = append(args, "-sabotage", c.sabotage)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, "powercut"), args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fmt.Println(lines.Text())
		if m := foundLost.FindStringSubmatch(lines.Text()); m != nil {
			lost, _ = strconv.Atoi(m[1])
		}
	}
	if err := cmd.Wait(); err != nil {
		return lost, fmt.Errorf("powercut: %w", err)
	}
	return lost, nil
}
