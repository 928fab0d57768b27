//go:build linux

package main

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"inventorybeacon/cmd/internal/powercut/cutdisk"
)

// A campaign is what the command line asks for.
type campaign struct {
	images, each  int
	seed          uint64
	types         []cutdisk.Type
	roles         []role
	sabotage, bin string
	first         bool // ends with the first loss
}

// findings are what all images showed.
type findings struct {
	images, checked, lost, faults int
	held, gone, quarantined       int
	stakes                        int64 // bytes written and not flushed, over all images
	took                          time.Duration
}

func (f findings) bad() bool { return f.lost > 0 || f.faults > 0 }

func (f findings) String() string {
	return fmt.Sprintf("powercut: %d images, %d acknowledged, %d lost, %d other faults (%d held, %d delivered, %d in quarantine; %.1f MB unflushed at stake; %v)",
		f.images, f.checked, f.lost, f.faults, f.held, f.gone, f.quarantined, float64(f.stakes)/1e6, f.took.Round(time.Second))
}

func (c *campaign) run(ctx context.Context) (f findings, err error) {
	dir, err := os.MkdirTemp("", "powercut-")
	if err != nil {
		return f, err
	}
	defer os.RemoveAll(dir)
	if err := c.build(ctx, dir); err != nil {
		return f, err
	}
	shelf, err := cutdisk.OpenShelf(filepath.Join(dir, "shelf"))
	if err != nil {
		return f, err
	}
	defer shelf.Close()
	began := time.Now()
	for n := 0; f.images < c.images && !c.done(f); n++ {
		fs := c.types[n%len(c.types)]
		// The first runs share the images evenly, however few they are.
		quota := min(c.each, (c.images+len(c.types)-1)/len(c.types), c.images-f.images)
		start := time.Now()
		rec, err := c.record(ctx, shelf, fs, filepath.Join(dir, "run"))
		if err != nil {
			return f, fmt.Errorf("run %d on %s: %w", n+1, fs.Name, err)
		}
		fmt.Printf("run %d on %s, seed %d, %v: %s\n", n+1, fs.Name, c.seed, time.Since(start).Round(100*time.Millisecond), rec)
		if err := c.examine(ctx, shelf, rec, quota, filepath.Join(dir, "cut"), &f); err != nil {
			return f, fmt.Errorf("images of run %d on %s: %w", n+1, fs.Name, err)
		}
		f.took = time.Since(began)
		fmt.Printf("  so far %s\n", strings.TrimPrefix(f.String(), "powercut: "))
		c.seed++
	}
	return f, nil
}

func (c *campaign) done(f findings) bool { return c.first && f.lost > 0 }

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
	cmd := exec.CommandContext(ctx, "go", append(args, "inventorybeacon/cmd/beacon", "inventorybeacon/cmd/beacon-agent")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return nil
}

// A cut is one image to be: a role's disk, at a tick.
type cut struct {
	role role
	tick uint64
	mode cutdisk.Mode
}

// plan chooses the cuts of a run. Most come at instants that are worse than
// others: at an acknowledgement, when no time was left to make up for a sync
// that was forgotten, or right before a flush, when most is at stake.
func (c *campaign) plan(rec *recording, quota int, rng *rand.Rand) (cuts []cut) {
	for i := range quota {
		r := c.roles[i%len(c.roles)]
		at := cut{role: r, tick: rec.began + rng.Uint64N(rec.ended-rec.began), mode: cutdisk.Modes[rng.IntN(len(cutdisk.Modes))]}
		claims, ops := rec.claims[r], rec.disks[r].ops
		switch i / len(c.roles) % 3 {
		case 0:
			if len(claims) > 0 {
				at.tick = claims[rng.IntN(len(claims))].Tick
			}
		case 1:
			at.tick = min(beforeFlush(ops, rng.IntN(len(ops))), rec.ended)
		}
		cuts = append(cuts, at)
	}
	slices.SortFunc(cuts, func(a, b cut) int { return cmp.Compare(a.tick, b.tick) })
	return cuts
}

// beforeFlush returns the tick before the first flush from ops[i] on.
func beforeFlush(ops []cutdisk.Op, i int) uint64 {
	for i < len(ops)-1 && ops[i].Data != nil {
		i++
	}
	return ops[i].Tick - 1
}

func (c *campaign) examine(ctx context.Context, shelf *cutdisk.Shelf, rec *recording, quota int, dir string, f *findings) error {
	rng := rand.New(rand.NewPCG(c.seed, 2))
	cutters := map[role]*cutdisk.Cutter{}
	for _, r := range c.roles {
		cutters[r] = cutdisk.NewCutter(rec.disks[r].base, rec.disks[r].ops)
	}
	for i, at := range c.plan(rec, quota, rng) {
		if err := ctx.Err(); err != nil {
			return err
		}
		image := cutters[at.role].Cut(at.tick, at.mode, rng)
		f.stakes += cutters[at.role].Unflushed()
		a, err := c.look(ctx, shelf, rec.fs, image, dir, rec.question(at), i%startEach == 0)
		if err != nil {
			return fmt.Errorf("%s, cut %s at tick %d: %w", at.role, at.mode, at.tick, err)
		}
		f.images++
		f.checked += a.Checked
		f.held += a.Held
		f.gone += a.Gone
		f.quarantined += a.Quarantined
		f.lost += len(a.Lost)
		f.faults += len(a.Faults)
		report(at, a)
		if c.done(*f) {
			return nil
		}
	}
	return nil
}

// fewLines is how much is printed of what one image showed.
const fewLines = 5

func report(at cut, a answer) {
	say := func(what string, lines []string) {
		for i, line := range lines {
			if i == fewLines {
				fmt.Printf("  … and %d more\n", len(lines)-i)
				return
			}
			fmt.Printf("  %s: %s, cut %s at tick %d: %s\n", what, at.role, at.mode, at.tick, line)
		}
	}
	say("LOST", a.Lost)
	say("FAULT", a.Faults)
}
