package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the scripts under testdata; each shows one promise to a user.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			bundles, err := filepath.Abs("../../../testdata/bundles")
			env.Setenv("BUNDLES", bundles)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve":  scriptServe,
			"stop":   scriptStop,
			"await":  scriptAwait,
			"absent": scriptAbsent,
			"code":   scriptCode,
		},
	})
}

// serve DATA [ARGS]: starts a beacon until the script ends; sets AGENTS,
// AGENTS_TLS and ADMIN to where it listens.
func scriptServe(ts *testscript.TestScript, neg bool, args []string) {
	s, err := serve(ts.MkAbs(args[0]), args[1:]...)
	ts.Check(err)
	ts.Setenv("AGENTS", s.Agents)
	ts.Setenv("AGENTS_TLS", s.AgentsTLS)
	ts.Setenv("ADMIN", s.Admin)
	running.Store(ts, s)
	ts.Defer(func() { ts.Check(stopRunning(ts)) })
}

// stop: drains the beacon that serve started.
func scriptStop(ts *testscript.TestScript, neg bool, args []string) {
	if _, ok := running.Load(ts); !ok {
		ts.Fatalf("no beacon is running")
	}
	ts.Check(stopRunning(ts))
}

// running holds the beacon of each script.
var running sync.Map

func stopRunning(ts *testscript.TestScript) error {
	s, ok := running.LoadAndDelete(ts)
	if !ok {
		return nil
	}
	return s.(*server).stop()
}

// await GLOB: waits until a file fits, at most 30 s.
func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	deadline := time.Now().Add(30 * time.Second)
	for {
		found, err := filepath.Glob(ts.MkAbs(strings.Join(args, " ")))
		ts.Check(err)
		if len(found) > 0 {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("nothing fits %s", args)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// absent GLOB: fails if a file fits.
func scriptAbsent(ts *testscript.TestScript, neg bool, args []string) {
	found, err := filepath.Glob(ts.MkAbs(strings.Join(args, " ")))
	ts.Check(err)
	if len(found) > 0 {
		ts.Fatalf("%s is there", found)
	}
}

// code N PROGRAM ARGS: runs a program that must end with exit code N.
func scriptCode(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
