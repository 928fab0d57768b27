//go:build linux

package main

import (
	"bytes"
	"errors"
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

// asProgram makes the test binary be the program.
const asProgram = "POWERCUT_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

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

// build makes the two programs in a new folder.
func build(t *testing.T, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	args := append([]string{"build", "-o", dir + "/"}, flags...)
	cmd := exec.CommandContext(t.Context(), "go", append(args, "inventorybeacon/cmd/beacon", "inventorybeacon/cmd/beacon-agent")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the programs: %v\n%s", err, out)
	}
	return dir
}

// powercut runs the program and returns what it printed.
func powercut(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	err = cmd.Run()
	return b.String(), err
}

// TestAcknowledgedFilesSurvivePowerCuts is the short form of make powercut.
func TestAcknowledgedFilesSurvivePowerCuts(t *testing.T) {
	needDisks(t)
	images := "12"
	if full() {
		images = "30"
	}
	out, err := powercut(t, "-images", images, "-bin", build(t))
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
			out, err := powercut(t, "-images", "300", "-each", "30", "-of", "beacon,parent", "-first", "-bin", bin, "-sabotage", bug)
			exit, ok := errors.AsType[*exec.ExitError](err)
			if !ok || exit.ExitCode() != 1 || !strings.Contains(out, "  LOST: ") {
				t.Fatalf("the bug was not found: %v\n%s", err, out)
			}
			t.Logf("\n%s", out)
		})
	}
	t.Run("no bug", func(t *testing.T) { // it is the variable that makes the difference
		if out, err := powercut(t, "-images", "8", "-of", "beacon,parent", "-bin", bin); err != nil {
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
		if _, err := parse(strings.Fields(bad)); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
	c, err := parse(strings.Fields("-fs xfs -of parent,agent -images 7 -seed 3"))
	if err != nil || len(c.types) != 1 || len(c.roles) != 2 || c.images != 7 || c.seed != 3 {
		t.Errorf("%+v, %v", c, err)
	}
}
