package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// The doctor tries a real bucket, and says of each thing that is wrong what to do.
func TestDoctorTriesEveryDestination(t *testing.T) {
	store := startS3(t)
	folder := t.TempDir()
	write := func(secret, directory, parent string) string {
		name := filepath.Join(t.TempDir(), "beacon.yaml")
		text := fmt.Sprintf(`
relay:
  - {name: lake, s3: {endpoint: %q, bucket: %s, access_key: %s, secret_key: %s, create_only: true}}
  - {name: importer, directory: {path: %q}}
  - {name: hub, beacon: {url: "%s/ManageSoftRL"}}
`, store.endpoint, bucket, accessKey, secret, directory, parent)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	hub := start(t, filepath.Join(t.TempDir(), "hub"))
	for _, tt := range []struct {
		name, config string
		failed       []string
	}{
		{"all is well", write(secretKey, folder, hub.Agents), nil},
		{"wrong secret", write("guess", folder, hub.Agents), []string{"lake"}},
		{"no such parent, no folder", write(secretKey, "/proc/none", "http://127.0.0.1:1"), []string{"hub"}},
		{"a folder that takes nothing", write(secretKey, "/proc", hub.Agents), []string{"importer"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, said, err := command(t.Context(), "beacon", "doctor", "--json", "--data", t.TempDir(), "--config", tt.config)
			var d struct {
				OK       bool
				Findings []struct{ Part, What, State, Error, Detail string }
			}
			if jsonErr := json.Unmarshal([]byte(out), &d); jsonErr != nil {
				t.Fatalf("%v: %s%s", jsonErr, out, said)
			}
			if good := len(tt.failed) == 0; d.OK != good || (err == nil) != good {
				t.Errorf("ok %v, %v", d.OK, err)
			}
			failed := map[string]bool{}
			for _, f := range d.Findings {
				if f.State == "failed" {
					failed[f.Part] = true
					if f.Error == "" || f.Detail == "" {
						t.Errorf("%+v says too little", f)
					}
				}
			}
			for _, part := range tt.failed {
				if !failed[part] {
					t.Errorf("%s is not found bad: %s", part, out)
				}
			}
			if len(failed) != len(tt.failed) {
				t.Errorf("bad are %v, want %v", failed, tt.failed)
			}
		})
	}
	if held, err := store.objects(); err != nil || len(held) != 0 {
		t.Errorf("%d objects were left in the bucket, %v", len(held), err)
	}
}
