//go:build !windows

package directory_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/directory"
	"inventorybeacon/uploads/uploadstest"
)

// Pipes, links and folders that have the name of a file are not looked into,
// and not replaced.
func TestSinkStepsAroundWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, directory.Options{})
	secret := filepath.Join(t.TempDir(), "secret")
	data := []byte("x")
	if err := os.WriteFile(secret, data, 0o600); err != nil {
		t.Fatal(err)
	}
	kind := filepath.Join(dir, "Incoming", "Logs")
	for name, make := range map[string]func(string) error{
		"folder": func(p string) error { return os.MkdirAll(p, 0o755) },
		"link":   func(p string) error { return os.Symlink(secret, p) },
		"inside": func(p string) error { return os.Symlink("other", p) },
		"pipe":   func(p string) error { return unix.Mkfifo(p, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			put(t, dir, "Logs/other", data)
			if err := make(filepath.Join(kind, name+".log")); err != nil {
				t.Fatal(err)
			}
			p := uploadstest.Parcel(t, "Logs", name+".log", data)
			mustDeliver(t, s, p)
			mustDeliver(t, s, p)
			marked := filepath.Join(kind, name+"."+p.Digest.String()[:8]+".log")
			if got, err := os.ReadFile(marked); err != nil || string(got) != "x" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// A directory that was moved away, or had another one mounted over it, is
// entered again; one that is missing is not made.
func TestSinkFollowsItsPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "relayed")
	s := open(t, dir, directory.Options{})
	mustDeliver(t, s, uploadstest.Parcel(t, "Logs", "a.log", []byte("a")))
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	b := uploadstest.Parcel(t, "Logs", "b.log", []byte("b"))
	if got := s.Deliver(t.Context(), []uploads.Parcel{b}); !errors.Is(got[0].Err, fs.ErrNotExist) {
		t.Errorf("delivered nowhere: %v", got[0].Err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mustDeliver(t, s, b)
	if err := os.RemoveAll(filepath.Join(dir, ".partial")); err != nil {
		t.Fatal(err)
	}
	mustDeliver(t, s, uploadstest.Parcel(t, "Logs", "c.log", []byte("c")))
	if got := names(visible(t, dir)); !slices.Equal(got, []string{"Logs/b.log", "Logs/c.log"}) {
		t.Errorf("%q", got)
	}
	if got := names(visible(t, dir+".old")); !slices.Equal(got, []string{"Logs/a.log"}) {
		t.Errorf("moved away: %q", got)
	}
}
