package directory

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Both ways of giving a name refuse one that is taken, and leave nothing behind
// where it is free.
func TestPassageReplacesNothing(t *testing.T) {
	for name, take := range map[string]func(passage, string, string) error{"rename": passage.take, "link": passage.link} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, d := range []string{"from", "to"} {
				if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for f, text := range map[string]string{"from/a": "new", "from/b": "newer", "to/taken": "old"} {
				if err := os.WriteFile(filepath.Join(dir, f), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			p, err := openPassage(root, "from", "to")
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			if err := take(p, "a", "taken"); !errors.Is(err, fs.ErrExist) {
				t.Errorf("a taken name: %v", err)
			}
			if err := take(p, "b", "free"); err != nil {
				t.Error(err)
			}
			for f, want := range map[string]string{"from/a": "new", "to/taken": "old", "to/free": "newer", "from/b": ""} {
				if got, _ := os.ReadFile(filepath.Join(dir, f)); string(got) != want {
					t.Errorf("%s: %q, want %q", f, got, want)
				}
			}
		})
	}
}
