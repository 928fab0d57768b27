package disk_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"

	"inventorybeacon/uploads/spool/disk"
)

func TestDiskKeepsFiles(t *testing.T) {
	d, err := disk.Open(filepath.Join(t.TempDir(), "not", "there", "yet"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for range 2 {
		if err := d.Mkdir("sub"); err != nil {
			t.Fatal(err)
		}
	}
	f, err := d.Create("sub/a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("hello"), 3); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(7), f.Sync(), f.Close(), d.Rename("sub/a", "sub/b"), d.SyncDir("sub")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Create("sub/b"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create of a taken name: %v", err)
	}
	if _, err := d.Open("sub/a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of the old name: %v", err)
	}
	if f, err = d.Open("sub/b"); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 7)
	n, err := f.ReadAt(b, 0)
	if size, serr := f.Size(); n != 7 || string(b) != "\x00\x00\x00hell" || size != 7 || serr != nil {
		t.Errorf("%q, %v, size %d, %v", b[:n], err, size, serr)
	}
	if ents, err := d.ReadDir("sub"); err != nil || len(ents) != 1 || ents[0].Name() != "b" {
		t.Errorf("%v, %v", ents, err)
	}
	if free, err := d.Free(); err != nil || free <= 0 {
		t.Errorf("%d bytes free, %v", free, err)
	}
	if err := d.Remove("sub/b"); err != nil {
		t.Error(err)
	}
}

func TestDiskDoesNotLeaveItsDirectory(t *testing.T) {
	d, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, name := range []string{"../x", "/etc/x", "a/../../x"} {
		if _, err := d.Create(name); err == nil {
			t.Errorf("Create(%q) succeeded", name)
		}
	}
}

func TestIsFull(t *testing.T) {
	if disk.IsFull(syscall.EIO) || disk.IsFull(nil) {
		t.Error("another error is called a full disk")
	}
	if !disk.IsFull(fmt.Errorf("write: %w", disk.ErrFull)) {
		t.Error("a full disk is not known")
	}
}
