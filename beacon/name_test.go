package beacon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"inventorybeacon/beacon/config"
)

func named(t *testing.T, data, configured string) (string, error) {
	t.Helper()
	b := &Beacon{config: &config.Config{Data: data, Name: configured}}
	err := b.openName(t.Context())
	return b.Name(), err
}

func TestBeaconKeepsTheNameItGaveItself(t *testing.T) {
	one, other := t.TempDir(), t.TempDir()
	for _, dir := range []string{one, other} {
		if err := os.Mkdir(filepath.Join(dir, config.KeysDir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	first, err := named(t, one, "")
	if err != nil || first == "" {
		t.Fatalf("%q, %v", first, err)
	}
	if again, err := named(t, one, ""); again != first || err != nil {
		t.Errorf("%q became %q, %v", first, again, err)
	}
	if second, err := named(t, other, ""); second == first || err != nil {
		t.Errorf("two data directories on one host are both %q, %v", second, err)
	}
	if told, err := named(t, one, "hub"); told != "hub" || err != nil {
		t.Errorf("configured as hub, but %q, %v", told, err)
	}
	if err := os.WriteFile(filepath.Join(one, nameFile), []byte("../x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := named(t, one, ""); err == nil || !strings.Contains(err.Error(), nameFile) {
		t.Errorf("a spoilt name was taken: %v", err)
	}
}
