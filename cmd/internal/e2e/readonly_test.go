//go:build linux

package e2e

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// A loopDisk is an ext4 file system in a file. Its data directory is in
// mnt/data.
type loopDisk struct{ image, mnt string }

// newLoopDisk makes a disk and mounts it until the test ends.
func newLoopDisk(t *testing.T) *loopDisk {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	d := &loopDisk{image: filepath.Join(dir, "disk.img"), mnt: filepath.Join(dir, "mnt")}
	if err := errors.Join(os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, 128<<20), os.Mkdir(d.mnt, 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		t.Skipf("SKIPPED %s: mkfs.ext4 is not installed (make test installs it)", t.Name())
	}
	tool(t, "mkfs.ext4", "-q", "-F", "-J", "size=4", d.image)
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.mnt).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED %s: no loop device can be mounted here: %v: %s", t.Name(), err, out)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(d.mnt, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount the disk: %v", err)
		}
	})
	return d
}

// tool runs a program of the system that must succeed.
func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
}

// repair does what an administrator does with a file system that has given up. It
// takes a copy: whoever made a mount namespace meanwhile still holds the old one,
// which the same image would be mounted as again.
func (d *loopDisk) repair(t *testing.T) {
	t.Helper()
	tool(t, "umount", d.mnt)
	tool(t, "cp", "--sparse=always", d.image, d.image+".copy")
	d.image += ".copy"
	out, err := exec.Command("e2fsck", "-p", d.image).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() != 1) { // 1: repaired
		t.Fatalf("e2fsck: %v: %s", err, out)
	}
	tool(t, "mount", "-o", "loop", d.image, d.mnt)
}

// readOnly remounts a folder: whoever opens, makes, renames or removes a file in
// it gets EROFS until writable is called. Files that are open go on, as the kernel
// remounts no mount that has files open for writing: this one has none, since they
// were opened through the one below it.
func readOnly(t *testing.T, dir string) (writable, gone func()) {
	t.Helper()
	tool(t, "mount", "--bind", dir, dir)
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) { // it is gone
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	tool(t, "mount", "-o", "remount,bind,ro", dir)
	if err := os.WriteFile(filepath.Join(dir, "probe"), nil, 0o600); !errors.Is(err, syscall.EROFS) {
		t.Fatalf("a file in %s, which is read-only: %v", dir, err)
	}
	return func() { tool(t, "mount", "-o", "remount,bind,rw", dir) }, func() { tool(t, "umount", dir) }
}

// turnsAway waits until a file is not taken, and wants it sent away for a while,
// policy served, and the trouble told.
func (p *patient) turnsAway() {
	p.t.Helper()
	eventually(p.t, time.Minute, "a file is turned away, and it is not ready", func() bool {
		status := p.put()
		if status != http.StatusOK && status != http.StatusInsufficientStorage {
			p.t.Errorf("on a read-only disk: %d", status)
		}
		return status != http.StatusOK && !p.ready()
	})
	p.tells("read-only")
	p.polls()
}

// When the disk is writable again, so is the beacon, without a restart.
func TestReadOnlyDiskTurnsAwayAndRecovers(t *testing.T) {
	d := newLoopDisk(t)
	p := newPatient(t, filepath.Join(d.mnt, "data"), "min_free: 1MiB")
	p.recovers()
	for range rounds(3, 1) {
		var writable []func()
		for _, dir := range []string{"segments", "blobs", "receipts", "unfinished"} {
			again, _ := readOnly(t, filepath.Join(p.s.Data, "spool", dir))
			writable = append(writable, again)
		}
		p.turnsAway()
		for _, w := range writable {
			w()
		}
		p.recovers()
	}
	p.survives()
}

// stopsDelivery makes the destination read-only, once everything is there.
func (p *patient) stopsDelivery() (deliver func()) {
	p.t.Helper()
	eventually(p.t, readyWithin, "everything is delivered", func() bool {
		have, err := files(filepath.Join(p.store, "Incoming"))
		return err == nil && len(have) == len(p.acked)
	})
	_, deliver = readOnly(p.t, filepath.Join(p.store, "Incoming"))
	return deliver
}

// ext4 that meets an error of its disk turns read-only below every open file, for
// good: what was acknowledged is there after a repair, and nothing was acknowledged
// meanwhile.
func TestAbortedFileSystemLosesNothing(t *testing.T) {
	d := newLoopDisk(t)
	p := newPatient(t, filepath.Join(d.mnt, "data"), "min_free: 1MiB")
	p.recovers()
	deliver := p.stopsDelivery()
	before := len(p.acked)
	for range 5 {
		if statuses := p.putSome(); slices.ContainsFunc(statuses, func(s int) bool { return s != http.StatusOK }) {
			t.Fatalf("while only the destination is read-only: %v", statuses)
		}
	}
	tool(t, "mount", "-o", "remount,abort", d.mnt)
	kept := len(p.acked)
	p.turnsAway()
	p.putSome()
	if len(p.acked) != kept {
		t.Errorf("%d files were acknowledged after the file system had given up", len(p.acked)-kept)
	}
	if err := p.s.stop(); err != nil {
		t.Logf("it stopped so: %v", err)
	}
	d.repair(t)
	p.s = start(t, p.s.Data, p.args...)
	eventually(t, readyWithin, "the policy is in force", inForce(t, p.s.Agents, 1))
	if have, err := files(filepath.Join(p.store, "Incoming")); err != nil || len(have) > before {
		t.Fatalf("%d files are in the store, of which none but %d can be: %v", len(have), before, err)
	}
	deliver()
	p.recovers()
	p.survives()
}
