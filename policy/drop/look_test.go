package drop

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"inventorybeacon/policy/bundle"
)

// What may not be read is told of when it is tried, not with every hint, and
// published once it may.
func TestEntryThatCannotBeReadIsNotToldOfWithEveryHint(t *testing.T) {
	var log bytes.Buffer
	f, err := Open(t.TempDir(), nil, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	locked := filepath.Join(f.dir, "locked")
	if err := os.Mkdir(locked, 0o700); err != nil {
		t.Fatal(err)
	}
	f.look = func(string) (bundle.Look, error) { return bundle.Look{}, errors.New("may not be read") }
	now := time.Now()
	for range 20 {
		next, err := f.Scan(t.Context(), now)
		if err != nil || !next.After(now) {
			t.Fatalf("next %v, %v", next, err)
		}
		now = now.Add(100 * time.Millisecond)
	}
	if n := strings.Count(log.String(), "may not be read"); n != 1 {
		t.Errorf("told of %d times in 2 s:\n%s", n, &log)
	}
	f.look = bundle.LookAt
	if next, err := f.Scan(t.Context(), now); err != nil || !next.Equal(now.Add(f.o.Settle)) {
		t.Errorf("a folder that may be read now is due at %v, %v", next, err)
	}
}
