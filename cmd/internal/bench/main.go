//go:build linux

// Command bench measures what is promised about speed and memory, as ratios in
// one run against a named alternative: make bench [NAME=group].
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// A group is a set of rows that share their set-up.
type group struct {
	name string
	run  func(ctx context.Context, dir string) ([]result, error)
}

var groups = []group{
	{"uploads", benchUploads},
	{"relay", benchRelay},
	{"open", benchOpen},
	{"receipts", benchReceipts},
	{"polls", benchPolls},
	{"memory", benchMemory},
	{"overload", benchOverload},
}

func main() {
	if len(os.Args) > 2 && (os.Args[1] == "contestant" || os.Args[1] == "job") {
		child := map[string]func(string, []string) error{"contestant": contest, "job": work}[os.Args[1]]
		if err := child(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	out := flag.String("out", "bench/latest.json", "file for the results")
	name := flag.String("name", "", "one group instead of all: "+names())
	dir := flag.String("dir", "", "directory to work in (default a new one under build/, which is removed)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, *out, *name, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func names() string {
	var all []string
	for _, g := range groups {
		all = append(all, g.name)
	}
	return strings.Join(all, " ")
}

func bench(ctx context.Context, out, name, dir string) error {
	if name != "" && !slices.ContainsFunc(groups, func(g group) bool { return g.name == name }) {
		return fmt.Errorf("no group %q; there are: %s", name, names())
	}
	if dir == "" {
		// Not the system's temporary folder, which may be memory: disks are measured.
		if err := os.MkdirAll("build", 0o755); err != nil {
			return err
		}
		made, err := os.MkdirTemp("build", "bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(made)
		dir = made
	}
	dir, err := filepath.Abs(dir) // some rivals are told where to work and stand elsewhere
	if err != nil {
		return err
	}
	var results []result
	for _, g := range groups {
		if name != "" && name != g.name {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring %s ...\n", g.name)
		rows, err := g.run(ctx, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		results = append(results, rows...)
	}
	if err := printTable(os.Stdout, results); err != nil {
		return err
	}
	if err := writeJSON(out, results); err != nil {
		return err
	}
	if slices.ContainsFunc(results, func(r result) bool { return !r.Pass }) {
		return fmt.Errorf("a bar was missed")
	}
	return nil
}
