package datadir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func open(t *testing.T, path, command string) *Dir {
	t.Helper()
	d, err := Open(path, command)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestDirHasOneOwner(t *testing.T) {
	path := t.TempDir()
	d := open(t, path, "beacon-agent run")
	if _, err := Open(path, "beacon-agent pull"); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "beacon-agent run") {
		t.Errorf("second owner: %v, want one that names the first", err)
	}
	if h, err := Held(path); err != nil || h == nil || h.PID != os.Getpid() || h.Command != "beacon-agent run" {
		t.Errorf("holder %v, %v", h, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if h, err := Held(path); err != nil || h != nil {
		t.Errorf("after Close: holder %v, %v", h, err)
	}
	open(t, path, "beacon-agent pull")
}

func TestHeldOfNothing(t *testing.T) {
	if h, err := Held(filepath.Join(t.TempDir(), "none")); err != nil || h != nil {
		t.Errorf("%v, %v", h, err)
	}
}

func TestAgentIDStays(t *testing.T) {
	path := t.TempDir()
	d := open(t, path, "a")
	id, err := d.AgentID()
	if err != nil || !idForm.MatchString(id) {
		t.Fatalf("id %q, %v", id, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, path, "b")
	if again, err := d.AgentID(); err != nil || again != id {
		t.Errorf("id %q became %q, %v", id, again, err)
	}
	if err := os.WriteFile(d.Join(idFile), []byte("half an i"), 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err := d.AgentID(); err != nil || again == id || !idForm.MatchString(again) {
		t.Errorf("damaged id became %q, %v", again, err)
	}
}

func TestJSONRoundTrips(t *testing.T) {
	d := open(t, t.TempDir(), "a")
	v := map[string]int{"untouched": 1}
	if err := d.ReadJSON("state/x.json", &v); err != nil || v["untouched"] != 1 {
		t.Errorf("no file: %v, %v", v, err)
	}
	if err := d.WriteJSON("state/x.json", map[string]int{"a": 2}); err != nil {
		t.Fatal(err)
	}
	v = nil
	if err := d.ReadJSON("state/x.json", &v); err != nil || v["a"] != 2 {
		t.Errorf("%v, %v", v, err)
	}
	if err := os.WriteFile(d.Join("state/x.json"), []byte(`{"a"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.ReadJSON("state/x.json", &v); err == nil {
		t.Error("a cut file was read")
	}
}
