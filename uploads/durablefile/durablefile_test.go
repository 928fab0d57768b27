package durablefile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"inventorybeacon/uploads/durablefile"
)

func openRoot(t *testing.T) *os.Root {
	t.Helper()
	r, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestAbsentOrComplete(t *testing.T) {
	root := openRoot(t)
	p, err := durablefile.Create(root, "a", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Abort()
	p.WriteString("hello")
	if _, err := root.Stat("a"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("before Commit: Stat = %v, want not exist", err)
	}
	if err := p.Commit(); err != nil {
		t.Fatal(err)
	}
	if b, err := root.ReadFile("a"); err != nil || string(b) != "hello" {
		t.Fatalf("after Commit: %q, %v", b, err)
	}
	if n, err := durablefile.Sweep(root, "."); n != 0 || err != nil {
		t.Fatalf("Sweep = %d, %v; want nothing left", n, err)
	}
}

func TestOneWinner(t *testing.T) {
	root := openRoot(t)
	var wins atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			p, err := durablefile.Create(root, "a", 0o600)
			if err != nil {
				t.Error(err)
				return
			}
			defer p.Abort()
			switch err := p.Commit(); {
			case err == nil:
				wins.Add(1)
			case !errors.Is(err, fs.ErrExist):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if wins.Load() != 1 {
		t.Errorf("%d writers won, want 1", wins.Load())
	}
}

func TestEscape(t *testing.T) {
	root := openRoot(t)
	for _, name := range []string{"../x", "/etc/x", "a/../../x"} {
		if _, err := durablefile.Create(root, name, 0o600); err == nil {
			t.Errorf("Create(%q) succeeded", name)
		}
	}
}

func TestMkdirAllMakesWhatIsMissing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b", "c")
	for range 2 {
		if err := durablefile.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if i, err := os.Stat(dir); err != nil || !i.IsDir() {
			t.Errorf("%v, %v", i, err)
		}
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, filepath.Join(file, "below")} {
		if err := durablefile.MkdirAll(name, 0o700); err == nil {
			t.Errorf("made %s, where a file is", name)
		}
	}
}
