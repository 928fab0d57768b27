package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An export of nothing is no failure, so that it has to be said, also to a person
// whose script reads the JSON.
func TestExportOfNothingSaysSo(t *testing.T) {
	data, file := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "site.tar")
	runs(t, data)
	for _, json := range []bool{false, true} {
		var out, said bytes.Buffer
		cmd := root()
		cmd.SetArgs([]string{"--data", data, "uploads", "export", file})
		if json {
			cmd.SetArgs([]string{"--data", data, "--json", "uploads", "export", file})
		}
		cmd.SetOut(&out)
		cmd.SetErr(&said)
		if err := cmd.ExecuteContext(t.Context()); err != nil || (out.Len() > 0) != json || !strings.Contains(said.String(), file+" was not written") {
			t.Errorf("json %v: %q, %q, %v", json, out.String(), said.String(), err)
		}
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
