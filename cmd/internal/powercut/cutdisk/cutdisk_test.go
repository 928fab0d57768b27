//go:build linux

package cutdisk_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"inventorybeacon/cmd/internal/powercut/cutdisk"
)

func TestImagesShareWhatIsNotWritten(t *testing.T) {
	a := cutdisk.NewImage(10_000)
	if n := a.WriteAt(bytes.Repeat([]byte("a"), 6000), 3000); n != 6000 {
		t.Fatalf("wrote %d", n)
	}
	b := a.Clone()
	b.WriteAt([]byte("bb"), 4095)
	if n := b.WriteAt(make([]byte, 100), 9990); n != 10 {
		t.Errorf("wrote %d bytes beyond the end", n-10)
	}
	got := make([]byte, 6)
	a.ReadAt(got, 4093)
	if string(got) != "aaaaaa" {
		t.Errorf("the original reads %q", got)
	}
	b.ReadAt(got, 4093)
	if string(got) != "aabbaa" {
		t.Errorf("the copy reads %q", got)
	}
}

// What was flushed is in every cut, what was not may be missing or torn by
// sectors, and a prefix has all of it.
func TestCutKeepsWhatWasFlushed(t *testing.T) {
	fill := func(b byte) []byte { return bytes.Repeat([]byte{b}, 2048) }
	ops := []cutdisk.Op{{Tick: 1, Off: 0, Data: fill('a')}, {Tick: 2}, {Tick: 4, Off: 4096, Data: fill('b')}, {Tick: 5, Off: 4096, Data: fill('c')}}
	seen := map[string]bool{}
	for seed := range uint64(2000) {
		for _, mode := range cutdisk.Modes {
			rng := rand.New(rand.NewPCG(seed, 0))
			c := cutdisk.NewCutter(cutdisk.NewImage(8192), ops)
			early, late := c.Cut(3, mode, rng), c.Cut(5, mode, rng)
			if c.Unflushed() != 4096 {
				t.Fatalf("%d bytes at stake, want 4096", c.Unflushed())
			}
			for _, m := range []*cutdisk.Image{early, late} {
				if got := sectors(m, 0); got != "aaaa" {
					t.Fatalf("%s: the flushed write reads %q", mode, got)
				}
			}
			seen[string(mode)+" "+sectors(late, 4096)] = true
		}
	}
	for want, ok := range map[string]bool{
		"prefix cccc": true, "prefix bbbb": false, "prefix ....": false,
		"dropped cccc": true, "dropped bbbb": true, "dropped ....": true, "dropped cc..": false,
		"torn cc..": true, "torn bbcc": true, "torn ....": true,
	} {
		if seen[want] != ok {
			t.Errorf("%q seen: %v, want %v", want, seen[want], ok)
		}
	}
}

// sectors shows 2 KiB as the first byte of each sector.
func sectors(m *cutdisk.Image, off int64) string {
	b := make([]byte, 2048)
	m.ReadAt(b, off)
	out := []byte{b[0], b[512], b[1024], b[1536]}
	return string(bytes.ReplaceAll(out, []byte{0}, []byte(".")))
}

// On a real file system a synced file is there after every cut that follows,
// and one that nobody synced is not there in some.
func TestDiskLosesOnlyWhatNobodySynced(t *testing.T) {
	for _, fs := range cutdisk.Types {
		t.Run(fs.Name, func(t *testing.T) {
			needMounts(t)
			dir := t.TempDir()
			shelf, err := cutdisk.OpenShelf(filepath.Join(dir, "shelf"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := shelf.Close(); err != nil {
					t.Error(err)
				}
			}()
			base, ops, after := recordFiles(t, shelf, fs, dir)
			cutter := cutdisk.NewCutter(base, ops)
			kept, missing := 0, 0
			for i := range 6 {
				m := cutter.Cut(after, cutdisk.Modes[i%len(cutdisk.Modes)], rand.New(rand.NewPCG(uint64(i), 1)))
				if !filesAfter(t, shelf, fs, dir, m, &kept) {
					missing++
				}
			}
			if kept != 6 || missing == 0 {
				t.Errorf("of 6 cuts %d kept what was synced, %d lost what was not", kept, missing)
			}
		})
	}
}

func recordFiles(t *testing.T, shelf *cutdisk.Shelf, fs cutdisk.Type, dir string) (*cutdisk.Image, []cutdisk.Op, uint64) {
	t.Helper()
	m, err := fs.Format(dir)
	if err != nil {
		t.Fatal(err)
	}
	clock := &cutdisk.Clock{}
	disk := cutdisk.NewDisk(m)
	disk.Record(clock)
	at := filepath.Join(dir, "live")
	if err := fs.Mount(shelf.Put("live", disk), at); err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(at, "synced"), []byte("synced"), 0o600), syncFile(filepath.Join(at, "synced")), syncFile(at),
		os.WriteFile(filepath.Join(at, "not"), []byte("not"), 0o600),
	)
	after := clock.Tick()
	if err := errors.Join(err, cutdisk.Unmount(at)); err != nil {
		t.Fatal(err)
	}
	base, ops := disk.Stop()
	shelf.Take("live")
	return base, ops, after
}

func filesAfter(t *testing.T, shelf *cutdisk.Shelf, fs cutdisk.Type, dir string, m *cutdisk.Image, kept *int) (unsynced bool) {
	t.Helper()
	at := filepath.Join(dir, "cut")
	if err := fs.Mount(shelf.Put("cut", cutdisk.NewDisk(m)), at); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(at, "synced")); err == nil && string(b) == "synced" {
		*kept++
	}
	b, err := os.ReadFile(filepath.Join(at, "not"))
	unsynced = err == nil && string(b) == "not"
	if err := cutdisk.Unmount(at); err != nil {
		t.Fatal(err)
	}
	shelf.Take("cut")
	return unsynced
}

func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// needMounts gives the test a mount table of its own, which goes with it.
func needMounts(t *testing.T) {
	t.Helper()
	err := cutdisk.Possible()
	if err != nil && os.Getenv("BEACON_TEST_FULL") != "" && !errors.Is(err, cutdisk.ErrKernel) {
		t.Fatal(err)
	}
	if err != nil {
		t.Skipf("SKIPPED %s: %v", t.Name(), err)
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")); err != nil {
		t.Fatal(fmt.Errorf("a mount table of its own: %w", err))
	}
}
