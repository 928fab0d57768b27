package catalogue

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"modernc.org/sqlite"
)

// closed makes a catalogue of j and closes it.
func closed(t *testing.T, j *journal) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "catalog.db")
	c, err := Open(t.Context(), file, Options{Sinks: sinks})
	if err != nil {
		t.Fatal(err)
	}
	catchUp(t, c, j)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

// change runs a statement on a closed catalogue.
func change(t *testing.T, file, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(file))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

func TestCatalogueRefusesNewerFileAndLeavesIt(t *testing.T) {
	for name, tt := range map[string]struct {
		statement string
		want      error
	}{
		"same version":        {fmt.Sprintf("PRAGMA user_version=%d", latest()), nil},
		"newer":               {fmt.Sprintf("PRAGMA user_version=%d", latest()+1), ErrNewer},
		"of another program":  {"PRAGMA application_id=1", ErrForeign},
		"of no known program": {"PRAGMA application_id=0; PRAGMA user_version=0", ErrForeign},
	} {
		t.Run(name, func(t *testing.T) {
			file := closed(t, day())
			change(t, file, tt.statement)
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c, err := Open(t.Context(), file, Options{})
			if err == nil {
				err = c.Close()
			}
			if !errors.Is(err, tt.want) {
				t.Fatalf("open: %v, want %v", err, tt.want)
			}
			if after, err := os.ReadFile(file); tt.want != nil && (err != nil || !bytes.Equal(before, after)) {
				t.Errorf("the file changed (%v)", err)
			}
			left, err := filepath.Glob(file + "*")
			if err != nil || len(left) != 1 {
				t.Errorf("files left: %v, %v", left, err)
			}
		})
	}
}

func TestCatalogueOpensWhereverItLies(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "100% odd?name=#1 ü&mode=ro")
	if runtime.GOOS == "windows" {
		dir = filepath.Join(t.TempDir(), "100% odd #1 ü")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "catalog.db")
	for range 2 {
		c, err := Open(t.Context(), file, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

func TestCatalogueIsMadeAnew(t *testing.T) {
	j := day()
	want := snapshot(t, filled(t, j))
	for name, tt := range map[string]struct {
		harm  func(t *testing.T, file string)
		aside bool // the damaged file is kept
	}{
		"unharmed": {func(*testing.T, string) {}, false},
		"deleted": {func(t *testing.T, file string) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}, false},
		"emptied": {func(t *testing.T, file string) { overwrite(t, file, nil) }, false},
		"not a database": {func(t *testing.T, file string) {
			overwrite(t, file, bytes.Repeat([]byte("no database "), 1000))
		}, true},
		"cut in half": {func(t *testing.T, file string) {
			b := contentsOf(t, file)
			overwrite(t, file, b[:len(b)/2])
		}, true},
		"garbage in the middle": {func(t *testing.T, file string) {
			b := contentsOf(t, file)
			copy(b[4096:], bytes.Repeat([]byte{0xa5}, len(b)/2))
			overwrite(t, file, b)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			file := closed(t, j)
			tt.harm(t, file)
			c := openAt(t, file, Options{})
			catchUp(t, c, j)
			if d := cmp.Diff(want, snapshot(t, c)); d != "" {
				t.Error(d)
			}
			if _, err := os.Stat(file + ".damaged"); (err == nil) != tt.aside {
				t.Errorf("damaged file kept: %v, want %v", err == nil, tt.aside)
			}
			if n := c.Stats().Recreated; (n == 1) != tt.aside {
				t.Errorf("recreated %d times", n)
			}
		})
	}
}

func overwrite(t *testing.T, file string, b []byte) {
	t.Helper()
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func contentsOf(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCatalogueLocksSurviveAnotherDescriptor(t *testing.T) {
	fresh(t, Options{})
	if on := sqlite.OFDLockingEnabled(); on != (runtime.GOOS == "linux") {
		t.Errorf("OFD locks: %v", on)
	}
}
