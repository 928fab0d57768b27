package catalogue

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// crashEnv makes this test program the process that is killed.
const crashEnv = "CATALOGUE_CRASH_FILE"

func TestMain(m *testing.M) {
	if file := os.Getenv(crashEnv); file != "" {
		if err := indexUntilKilled(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

const crashFiles = 2000

// indexUntilKilled writes batches of many sizes and says how far it is.
func indexUntilKilled(file string) error {
	j := many(crashFiles)
	c, err := Open(context.Background(), file, Options{Sinks: sinks})
	if err != nil {
		return err
	}
	for at, n := c.Position(), uint64(1); at < uint64(len(j.events)); n = n%40 + 1 {
		end := min(at+n, uint64(len(j.events)))
		if err := c.Index(context.Background(), j.events[at:end]); err != nil {
			return err
		}
		at = end
		fmt.Println(at)
	}
	select {}
}

// Killed at any instant, the file holds what its position says, no more and no
// less, and the rest is read from the journal.
func TestCatalogueSurvivesKill(t *testing.T) {
	j := many(crashFiles)
	want := snapshot(t, filled(t, j))
	file := filepath.Join(t.TempDir(), "catalog.db")
	var reached []uint64
	for range 12 {
		said := killed(t, file)
		c, err := Open(t.Context(), file, Options{Sinks: sinks})
		if err != nil {
			t.Fatal(err)
		}
		if c.Stats().Recreated != 0 {
			t.Error("the file was damaged")
		}
		at := c.Position()
		if at < said {
			t.Errorf("position %d; %d had been written", at, said)
		}
		prefix := newJournal()
		prefix.events = j.events[:at]
		if d := cmp.Diff(snapshot(t, filled(t, prefix)), snapshot(t, c)); d != "" {
			t.Fatalf("at %d:\n%s", at, d)
		}
		reached = append(reached, at)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("killed at %d of %d", reached, len(j.events))
	c := openAt(t, file, Options{})
	catchUp(t, c, j)
	if d := cmp.Diff(want, snapshot(t, c)); d != "" {
		t.Error(d)
	}
}

// killed runs the writer on file, kills it at some instant and returns how far
// it said it was.
func killed(t *testing.T, file string) (said uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), crashEnv+"="+file)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 1 + rand.IntN(8); lines.Scan(); n-- {
		if said, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			// Not on a line's edge: somewhere in the next few batches.
			time.AfterFunc(time.Duration(rand.IntN(5000))*time.Microsecond, func() { cmd.Process.Kill() })
		}
	}
	_ = cmd.Wait() // it was killed
	return said
}
