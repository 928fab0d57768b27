//go:build linux

// Command torture shows that an acknowledged file reaches the store once,
// whatever dies on the way: go run ./cmd/internal/torture -rounds 1000.
//
// Devices send files to a beacon that relays to a parent beacon that relays to
// an S3 server. Meanwhile beacons are killed at random and started again,
// connections between any two are cut in the middle of a body and after its last
// byte, and what stands before the store answers 500, hangs and truncates. When
// that is over and everything has drained, the bucket is read: each acknowledged
// file must be there once, whole, or a beacon must say what became of it. The
// last line says what was found; the exit code is 1 if anything was lost or
// doubled.
//
// A file counts as doubled if it is in the bucket under two keys, if a beacon
// takes the same bytes for a new file, or if one is sent to the store after the
// beacon that sends it has said that the store has it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	c, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	v, err := c.run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
	}
	fmt.Println(v)
	if err != nil || v.bad() {
		stop()
		os.Exit(1)
	}
}

// A campaign is what the command line asks for.
type campaign struct {
	rounds, images          int
	seed                    uint64
	sabotage, bin, s3server string
	first                   bool
}

func parse(args []string, help io.Writer) (*campaign, error) {
	f := flag.NewFlagSet("torture", flag.ContinueOnError)
	f.SetOutput(help)
	c := &campaign{}
	f.IntVar(&c.rounds, "rounds", 1000, "how often beacons are killed")
	f.IntVar(&c.images, "images", 0, "of how many disks the power is cut before that (see powercut)")
	f.Uint64Var(&c.seed, "seed", rand.Uint64N(1_000_000), "where the choices begin; what the programs make of them differs from run to run")
	f.StringVar(&c.s3server, "versitygw", os.Getenv("BEACON_TEST_VERSITYGW"), "the S3 server (BEACON_TEST_VERSITYGW)")
	f.StringVar(&c.sabotage, "sabotage", "", "build the programs with this bug (package uploads/spool/sabotage), to see it found")
	f.BoolVar(&c.first, "first", false, "end as soon as a file is seen doubled")
	f.StringVar(&c.bin, "bin", "", "folder with the beacon to use instead of building it")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case f.NArg() > 0 || c.rounds < 1 || c.images < 0:
		return nil, errors.New("no arguments beside flags, and at least one round")
	case c.s3server == "":
		return nil, errors.New("-versitygw names no S3 server: run `make torture`, which builds one")
	}
	return c, nil
}

// A verdict is what was found.
type verdict struct{ rounds, acknowledged, lost, doubled int }

func (v verdict) bad() bool { return v.lost > 0 || v.doubled > 0 }

func (v verdict) String() string {
	return fmt.Sprintf("torture: %d rounds, %d acknowledged, %d lost, %d doubled", v.rounds, v.acknowledged, v.lost, v.doubled)
}
