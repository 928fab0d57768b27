//go:build linux

// Command powercut shows that what was acknowledged survives a power cut, on
// ext4 and on xfs: go run ./cmd/internal/powercut -images 500.
//
// It runs the real programs, an agent below a beacon below a parent beacon, each
// with its data on a disk of its own ([cutdisk.Disk]), lets them work, and notes
// when each file was acknowledged. Then it makes images of what a cut of the
// power at random instants may have left of a disk, mounts each, opens what is
// there as the programs would, and looks for every file that had been
// acknowledged by then. The last line says what was found; the exit code is 1 if
// anything was lost.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"inventorybeacon/cmd/internal/powercut/cutdisk"
)

// inside is set in the process that has a mount table of its own, where
// nothing that it leaves behind outlives it.
const inside = "POWERCUT_INSIDE"

func main() {
	if len(os.Args) > 1 && os.Args[1] == "examine" {
		os.Exit(answerQuestion(os.Stdin, os.Stdout))
	}
	c, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "powercut:", err)
		os.Exit(2)
	}
	if os.Getenv(inside) == "" {
		os.Exit(enter())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	found, err := c.run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "powercut:", err)
		os.Exit(1)
	}
	fmt.Println(found)
	if found.bad() {
		os.Exit(1)
	}
}

// enter runs this program again with a mount table of its own.
func enter() int {
	if err := cutdisk.Possible(); err != nil {
		fmt.Fprintln(os.Stderr, "powercut:", err)
		return 1
	}
	runtime.LockOSThread() // the thread that the death signal is tied to
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGTERM}
	signal.Ignore(os.Interrupt) // the one inside gets it too
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() >= 0 {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "powercut:", err)
		return 1
	}
	return 0
}

func parse(args []string, help io.Writer) (*campaign, error) {
	f := flag.NewFlagSet("powercut", flag.ContinueOnError)
	f.SetOutput(help)
	c := &campaign{}
	types := f.String("fs", "ext4,xfs", "file systems")
	roles := f.String("of", "beacon,parent,agent", "whose disks are cut")
	f.IntVar(&c.images, "images", 500, "how many images are examined")
	f.IntVar(&c.each, "each", 84, "how many images are made of one run of the programs: more are cheaper, fewer see more runs")
	f.Uint64Var(&c.seed, "seed", rand.Uint64N(1_000_000), "where the choices begin; the work of the programs differs from run to run all the same")
	f.StringVar(&c.sabotage, "sabotage", "", "build the programs with this bug (package uploads/spool/sabotage), to see it found")
	f.BoolVar(&c.first, "first", false, "end with the first image that shows a loss")
	f.StringVar(&c.bin, "bin", "", "folder with beacon and beacon-agent to use instead of building them")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 || c.images < 1 || c.each < 1 {
		return nil, errors.New("no arguments beside flags, and at least one image of each run")
	}
	for name := range strings.SplitSeq(*types, ",") {
		i := slices.IndexFunc(cutdisk.Types, func(t cutdisk.Type) bool { return t.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("-fs %s: no such file system here", name)
		}
		c.types = append(c.types, cutdisk.Types[i])
	}
	for name := range strings.SplitSeq(*roles, ",") {
		if !slices.Contains(allRoles, role(name)) {
			return nil, fmt.Errorf("-of %s: choose of %v", name, allRoles)
		}
		c.roles = append(c.roles, role(name))
	}
	return c, nil
}
