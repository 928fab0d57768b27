package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"inventorybeacon/beacon/control"
	"inventorybeacon/cmd/internal/cli"
)

// runs serves on the data directory, with arguments of its own, until the test ends.
func runs(t *testing.T, data string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, w := io.Pipe()
	cmd := root()
	cmd.SetArgs(append([]string{"serve", "--data", data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, args...))
	cmd.SetOut(w)
	cmd.SetErr(io.Discard)
	served := make(chan error, 1)
	go func() {
		err := cmd.ExecuteContext(ctx)
		w.CloseWithError(io.EOF)
		served <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	ready := make([]byte, len("ready"))
	if _, err := io.ReadFull(out, ready); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, out)
}

// prints is what a command prints, and how it ends.
func prints(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := root()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(io.Discard)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "beacon.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// A doctor that is told of no configuration tries that of the running beacon, not the
// default one, of which all may be well.
func TestDoctorTriesWhatTheRunningBeaconHas(t *testing.T) {
	t.Setenv("BEACON_CONFIG", "")
	data := filepath.Join(t.TempDir(), "leaf")
	bad := "relay:\n  - {name: hub, beacon: {url: \"http://127.0.0.1:1/ManageSoftRL\"}}\n"
	runs(t, data, "--config", writeFile(t, bad))
	out, err := prints(t, "--data", data, "--json", "doctor")
	var d diagnosis
	if jsonErr := json.Unmarshal([]byte(out), &d); jsonErr != nil {
		t.Fatalf("%v, %v: %s", err, jsonErr, out)
	}
	if !errors.Is(err, cli.ErrSilent) || d.OK || !d.Running || !strings.Contains(out, `"part": "hub"`) {
		t.Errorf("%v: %s", err, out)
	}
	if out, _ := prints(t, "--data", data, "doctor"); !strings.Contains(out, "tried by the running beacon") {
		t.Error(out)
	}
	if out, err := prints(t, "--data", data, "doctor", "--config", writeFile(t, "name: other\n")); err != nil || strings.Contains(out, "hub") {
		t.Errorf("of another file: %v: %s", err, out)
	}
	if out, err := prints(t, "--data", t.TempDir(), "doctor"); err != nil || strings.Contains(out, "running") {
		t.Errorf("where none runs: %v: %s", err, out)
	}
}

// A beacon that cannot say what it needs is no reason to try something else.
func TestDoctorAsksForConfigurationOfBeaconThatDoesNotTell(t *testing.T) {
	t.Setenv("BEACON_CONFIG", "")
	data := t.TempDir()
	ln, err := control.Listen(data)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- control.NewServer(slog.New(slog.DiscardHandler)).Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	if out, err := prints(t, "--data", data, "doctor"); err == nil || !strings.Contains(err.Error(), "--config FILE") {
		t.Errorf("%v: %s", err, out)
	}
}
