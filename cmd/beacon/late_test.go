package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"inventorybeacon/cmd/internal/cli"
	"inventorybeacon/uploads/catalogue"
)

func TestAgentsListKeepsToItsLimit(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	runs(t, data)
	var names strings.Builder
	names.WriteString("name\n")
	for i := range 25 {
		names.WriteString(fmt.Sprintf("ws%d\n", i))
	}
	if out, err := prints(t, "--data", data, "agents", "expect", writeFile(t, names.String())); err != nil {
		t.Fatal(out, err)
	}
	for _, tt := range []struct {
		args string
		rows int
	}{{"--never", 25}, {"--never --limit 3", 3}, {"--late --limit 7", 7}, {"--late --limit 30", 25}} {
		args := append([]string{"--data", data, "agents", "list"}, strings.Fields(tt.args)...)
		out, err := prints(t, append(args, "--json")...)
		var late []catalogue.Late
		if jsonErr := json.Unmarshal([]byte(out), &late); err != nil || jsonErr != nil || len(late) != tt.rows {
			t.Errorf("%s: %d rows, %v, %v", tt.args, len(late), err, jsonErr)
		}
		shown := tt.rows
		if !strings.Contains(tt.args, "limit") {
			shown = lateNames
		}
		text, err := prints(t, args...)
		if n := strings.Count(text, "\nws"); err != nil || n != shown {
			t.Errorf("%s: %d named, %v: %s", tt.args, n, err, text)
		}
		if !strings.Contains(text, "never-seen (25)") || shown < 25 != strings.Contains(text, fmt.Sprintf("and %d more: --limit 25 names them", 25-shown)) {
			t.Errorf("%s does not count all: %s", tt.args, text)
		}
	}
}

func TestAgentsListRefusesWhatMeansNothing(t *testing.T) {
	for _, args := range []string{"--limit=-1", "--limit 0", "--never --limit 0", "--silent=-1h", "--late --never"} {
		_, err := prints(t, append([]string{"--data", t.TempDir(), "agents", "list"}, strings.Fields(args)...)...)
		if _, ok := errors.AsType[*cli.UsageError](err); !ok {
			t.Errorf("%s: %v", args, err)
		}
	}
}
