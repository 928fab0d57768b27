package docstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A command is one that people can call, with the flags that are its own.
type command struct {
	name  string
	flags []string
}

var (
	listed = regexp.MustCompile(`(?m)^  ([a-z-]+) +\S`)
	flag   = regexp.MustCompile(`(?m)^ +(?:-[a-z], )?(--[a-z-]+)`)
)

// commands asks a program for all its commands, as a person would.
func commands(t *testing.T, program string, words ...string) (out []command) {
	t.Helper()
	help, err := exec.Command(program, append(words, "--help")...).Output()
	if err != nil {
		t.Fatalf("%s %v --help: %v", program, words, err)
	}
	text, _, _ := strings.Cut(string(help), "Global Flags:")
	c := command{name: strings.Join(append([]string{filepath.Base(program)}, words...), " ")}
	for _, m := range flag.FindAllStringSubmatch(section(text, "\nFlags:"), -1) {
		if m[1] != "--help" && m[1] != "--version" {
			c.flags = append(c.flags, m[1])
		}
	}
	children := section(text, "Available Commands:")
	if children == "" || words != nil && words[0] == "completion" {
		return []command{c}
	}
	out = append(out, command{name: "", flags: c.flags})
	for _, m := range listed.FindAllStringSubmatch(children, -1) {
		if m[1] != "help" {
			out = append(out, commands(t, program, append(words[:len(words):len(words)], m[1])...)...)
		}
	}
	return out
}

// section returns what stands under a title, up to the next empty line.
func section(text, title string) string {
	_, rest, _ := strings.Cut(text, title)
	rest, _, _ = strings.Cut(rest, "\n\n")
	return rest
}

// unnamed returns the commands and flags that text does not name. A command is
// named at the start of code.
func unnamed(text string, cs []command) (out []string) {
	for _, c := range cs {
		if c.name != "" && !regexp.MustCompile("`"+regexp.QuoteMeta(c.name)+"[ `]").MatchString(text) {
			out = append(out, c.name)
		}
		for _, f := range c.flags {
			if !regexp.MustCompile(regexp.QuoteMeta(f) + "[^a-z-]").MatchString(text) {
				out = append(out, c.name+" "+f)
			}
		}
	}
	return out
}

// build makes the two programs.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "./cmd/beacon", "./cmd/beacon-agent")
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("go build: %v", err)
	}
	return dir
}

func TestOperationsNamesEveryCommand(t *testing.T) {
	if testing.Short() {
		t.Skip("builds both programs")
	}
	dir, text := build(t), operations(t)
	for _, program := range []string{"beacon", "beacon-agent"} {
		cs := commands(t, filepath.Join(dir, program))
		if len(cs) < 6 {
			t.Fatalf("%s has %d commands: has its help changed?", program, len(cs))
		}
		for _, n := range unnamed(text, cs) {
			t.Errorf("docs/OPERATIONS.md does not name %s", n)
		}
	}
}

func TestUnnamedCommandIsFound(t *testing.T) {
	text := "run `beacon serve` or `beacon policy list --json`, and for `beacon policy` see there"
	known := []command{{"beacon serve", nil}, {"beacon policy list", []string{"--json"}}}
	if left := unnamed(text, known); len(left) > 0 {
		t.Errorf("unnamed = %v", left)
	}
	missing := []command{{"beacon pol", nil}, {"beacon status", nil}, {"beacon serve", []string{"--jso"}}}
	if left := unnamed(text, missing); len(left) != 3 {
		t.Errorf("unnamed = %v, want all three", left)
	}
}
