package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// diskSize holds a few bursts of a gigabyte; zeros are written to all of it
// first, so that the host's blocks exist before anything is timed.
const diskSize = "4096"

// ext4 makes a file system with a journal in a loop device, the stand-in for a
// customer's disk: a test machine's own root often has no journal, where
// syncing single files looks cheaper than it is. Without the right to mount it
// returns a folder on the current file system and says so in note.
func ext4(dir string) (mount, note string, done func(), err error) {
	plain := filepath.Join(dir, "plain")
	if os.Geteuid() != 0 {
		return plain, "not root: on the current file system", func() {}, os.MkdirAll(plain, 0o755)
	}
	img, mnt := filepath.Join(dir, "ext4.img"), filepath.Join(dir, "ext4")
	if err := os.MkdirAll(mnt, 0o755); err != nil {
		return "", "", nil, err
	}
	if err := run("dd", "if=/dev/zero", "of="+img, "bs=1M", "count="+diskSize, "oflag=direct", "status=none"); err != nil {
		return "", "", nil, err
	}
	if err := run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", "-J", "size=256", img); err != nil {
		return "", "", nil, err
	}
	dev, err := exec.Command("losetup", "--show", "--direct-io=on", "-f", img).Output()
	if err != nil {
		return plain, "no loop device: on the current file system", func() {}, os.MkdirAll(plain, 0o755)
	}
	loop := strings.TrimSpace(string(dev))
	if err := run("mount", loop, mnt); err != nil {
		return "", "", nil, err
	}
	return mnt, "ext4 with a journal on a loop device", func() {
		run("umount", mnt)
		run("losetup", "-d", loop)
	}, nil
}

func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}
