//go:build linux

package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"inventorybeacon/cmd/internal/powercut/cutdisk"
	"inventorybeacon/uploads/spool/sabotage"
)

// full reports whether the long form of a test was asked for, as make test does.
func full() bool { return os.Getenv("BEACON_TEST_FULL") != "" }

// needDisks ends the test where no disk can be served and mounted. make test
// installs what it needs, so there that is a failure unless the kernel is to blame.
func needDisks(t *testing.T) {
	t.Helper()
	err := cutdisk.Possible()
	if err != nil && full() && !errors.Is(err, cutdisk.ErrKernel) {
		t.Fatal(err)
	}
	if err != nil {
		t.Skipf("SKIPPED %s: no power is cut here: %v", t.Name(), err)
	}
}

// build makes the programs under test and this one, in a new folder. None has
// the race detector, with which an image takes ten times as long.
func build(t *testing.T, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	args := append([]string{"build", "-o", dir + "/"}, flags...)
	args = append(args, "inventorybeacon/cmd/beacon", "inventorybeacon/cmd/beacon-agent", "inventorybeacon/cmd/internal/powercut")
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the programs: %v\n%s", err, out)
	}
	return dir
}

// powercut runs the program on those beside it and returns what it printed.
func powercut(t *testing.T, bin string, args ...string) (out string, err error) {
	t.Helper()
	b, err := exec.CommandContext(t.Context(), filepath.Join(bin, "powercut"), append(args, "-bin", bin)...).CombinedOutput()
	return string(b), err
}

// TestAcknowledgedFilesSurvivePowerCuts is the short form of make powercut.
func TestAcknowledgedFilesSurvivePowerCuts(t *testing.T) {
	needDisks(t)
	images := "12"
	if full() {
		images = "30"
	}
	out, err := powercut(t, build(t), "-images", images)
	if err != nil || !regexp.MustCompile(`(?m)^powercut: `+images+` images, \d{3,} acknowledged, 0 lost, 0 other faults`).MatchString(out) {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("\n%s", out)
}

// What finds nothing in a sound program finds the bugs it is there to find.
func TestPowerCutsFindBugs(t *testing.T) {
	if !full() {
		t.Skip("SKIPPED TestPowerCutsFindBugs: BEACON_TEST_FULL is not set")
	}
	needDisks(t)
	bin := build(t, "-tags", "sabotage")
	for _, bug := range []string{sabotage.NameAckBeforeSync, sabotage.NameNoDirectorySync, sabotage.NameHeaderBeforeGenerationSync} {
		t.Run(bug, func(t *testing.T) {
			// One image in fifteen shows the one that is hardest to find.
			out, err := powercut(t, bin, "-images", "300", "-each", "30", "-of", "beacon,parent", "-first", "-sabotage", bug)
			exit, ok := errors.AsType[*exec.ExitError](err)
			if !ok || exit.ExitCode() != 1 || !strings.Contains(out, "  LOST: ") {
				t.Fatalf("the bug was not found: %v\n%s", err, out)
			}
			t.Logf("\n%s", out)
		})
	}
	t.Run("no bug", func(t *testing.T) { // it is the variable that makes the difference
		if out, err := powercut(t, bin, "-images", "4", "-fs", "ext4"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	})
}

// The bugs are in programs built for them alone.
func TestProgramsHaveNoBugsOnPurpose(t *testing.T) {
	contains := func(dir string) (n int) {
		files, err := filepath.Glob(filepath.Join(dir, "beacon*"))
		if err != nil || len(files) != 2 {
			t.Fatalf("%v, %v", files, err)
		}
		for _, name := range files {
			b, err := fs.ReadFile(os.DirFS(dir), filepath.Base(name))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(b, []byte(sabotage.Variable)) {
				n++
			}
		}
		return n
	}
	if n := contains(build(t)); n != 0 {
		t.Errorf("%d programs read %s", n, sabotage.Variable)
	}
	if full() {
		if n := contains(build(t, "-tags", "sabotage")); n != 2 {
			t.Errorf("%d of 2 programs built to have bugs read %s", n, sabotage.Variable)
		}
	}
}

func TestCommandLineIsChecked(t *testing.T) {
	for _, bad := range []string{"-fs ntfs", "-of child", "-images 0", "-each 0", "more", "-such"} {
		if _, err := parse(strings.Fields(bad), io.Discard); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
	c, err := parse(strings.Fields("-fs xfs -of parent,agent -images 7 -seed 3"), io.Discard)
	if err != nil || len(c.types) != 1 || len(c.roles) != 2 || c.images != 7 || c.seed != 3 {
		t.Errorf("%+v, %v", c, err)
	}
}
