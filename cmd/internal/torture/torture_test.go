//go:build linux

package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"inventorybeacon/uploads/spool/sabotage"
)

// full reports whether the long form of a test was asked for, as make test does.
func full() bool { return os.Getenv("BEACON_TEST_FULL") != "" }

func needStore(t *testing.T) {
	t.Helper()
	if os.Getenv("BEACON_TEST_VERSITYGW") == "" {
		t.Skipf("SKIPPED %s: needs a real S3 server: BEACON_TEST_VERSITYGW names no versitygw (make test builds one)", t.Name())
	}
}

// build makes the beacon and this program, without the race detector, which is
// for the tests of their packages.
func build(t *testing.T, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	args := append([]string{"build", "-o", dir + "/"}, flags...)
	cmd := exec.CommandContext(t.Context(), "go", append(args, "inventorybeacon/cmd/beacon", "inventorybeacon/cmd/internal/torture")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the programs: %v\n%s", err, out)
	}
	return dir
}

// torture runs the program on the beacon beside it and returns what it printed.
func torture(t *testing.T, bin string, args ...string) (out, last string, err error) {
	t.Helper()
	b, err := exec.CommandContext(t.Context(), filepath.Join(bin, "torture"), append(args, "-bin", bin)...).CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return string(b), lines[len(lines)-1], err
}

// TestAcknowledgedFilesReachStoreOnce is the short form of make torture.
func TestAcknowledgedFilesReachStoreOnce(t *testing.T) {
	needStore(t)
	rounds := "5"
	if full() {
		rounds = "12"
	}
	out, last, err := torture(t, build(t), "-rounds", rounds)
	if err != nil || !regexp.MustCompile(`^torture: `+rounds+` rounds, \d{2,} acknowledged, 0 lost, 0 doubled$`).MatchString(last) {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("\n%s", out)
}

// What finds nothing in a sound program finds the bugs it is there to find.
func TestTortureFindsBugs(t *testing.T) {
	if !full() {
		t.Skip("SKIPPED TestTortureFindsBugs: BEACON_TEST_FULL is not set")
	}
	needStore(t)
	bin := build(t, "-tags", "sabotage")
	for bug, want := range map[string]string{
		sabotage.NameMarkBeforeAnswer:   ` [1-9]\d* lost, \d+ doubled$`,
		sabotage.NameRecycleNeededMarks: ` \d+ lost, [1-9]\d* doubled$`,
	} {
		t.Run(bug, func(t *testing.T) {
			rounds := "6"
			if bug == sabotage.NameRecycleNeededMarks {
				rounds = "60" // it ends with the first that it finds, most often within ten
			}
			out, last, err := torture(t, bin, "-rounds", rounds, "-first", "-sabotage", bug)
			exit, ok := errors.AsType[*exec.ExitError](err)
			if !ok || exit.ExitCode() != 1 || !regexp.MustCompile(want).MatchString(last) {
				t.Fatalf("the bug was not found: %v\n%s", err, out)
			}
			t.Logf("\n%s", out)
		})
	}
	t.Run("no bug", func(t *testing.T) { // it is the variable that makes the difference
		if out, _, err := torture(t, bin, "-rounds", "4"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	})
}

func TestCommandLineIsChecked(t *testing.T) {
	t.Setenv("BEACON_TEST_VERSITYGW", "versitygw")
	for _, bad := range []string{"-rounds 0", "-images -1", "more", "-such", "-versitygw="} {
		if _, err := parse(strings.Fields(bad), io.Discard); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
	c, err := parse(strings.Fields("-rounds 7 -images 3 -seed 5"), io.Discard)
	if err != nil || c.rounds != 7 || c.images != 3 || c.seed != 5 || c.s3server != "versitygw" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestLastLineSaysWhatWasFound(t *testing.T) {
	if got := (verdict{3, 40, 1, 2}).String(); got != "torture: 3 rounds, 40 acknowledged, 1 lost, 2 doubled" {
		t.Error(got)
	}
	for v, bad := range map[verdict]bool{{3, 40, 0, 0}: false, {3, 40, 1, 0}: true, {3, 40, 0, 1}: true} {
		if v.bad() != bad {
			t.Errorf("%v: %v", v, v.bad())
		}
	}
}
