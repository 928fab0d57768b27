//go:build linux

package cutdisk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Type is a file system that a disk can carry.
type Type struct {
	Name string
	// size is the smallest that its maker takes without being persuaded, or one
	// that leaves room enough.
	size int64
	make []string
	// options keep the file system from making durable by itself, every few
	// seconds, what nobody synced, and let a copy be mounted beside its original.
	options string
}

// Types are the file systems to show durability on.
var Types = []Type{
	{
		Name: "ext4", size: 256 << 20, options: "commit=300",
		make: []string{"mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"},
	},
	{
		Name: "xfs", size: 320 << 20, options: "nouuid",
		make: []string{"mkfs.xfs", "-q", "-f", "-K"},
	},
}

// Format returns an image with an empty file system, made in dir.
func (t Type) Format(dir string) (*Image, error) {
	f, err := os.CreateTemp(dir, "format-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := f.Truncate(t.size); err != nil {
		return nil, err
	}
	if out, err := exec.Command(t.make[0], append(t.make[1:], f.Name())...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", t.make[0], err, strings.TrimSpace(string(out)))
	}
	return readImage(f, t.size)
}

func readImage(r io.ReaderAt, size int64) (*Image, error) {
	m := NewImage(size)
	var zero page
	for off := int64(0); off < size; off += pageSize {
		p := new(page)
		if _, err := r.ReadAt(p[:], off); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if *p != zero {
			m.pages[off/pageSize] = p
		}
	}
	return m, nil
}

// Mount mounts the file system in a file of a shelf at dir, which is made.
func (t Type) Mount(file, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	loop, err := attach(file)
	if err != nil {
		return fmt.Errorf("attach a loop device to %s: %w", file, err)
	}
	defer loop.Close()
	if err := unix.Mount(loop.Name(), dir, t.Name, unix.MS_NOATIME, t.options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", t.Name, loop.Name(), err)
	}
	return nil
}

// attach gives a file a loop device, which goes with its last user.
func attach(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for tries := 0; ; tries++ {
		loop, err := configure(int(control.Fd()), int(f.Fd()))
		if !errors.Is(err, unix.EBUSY) || tries > 100 {
			return loop, err
		}
		time.Sleep(10 * time.Millisecond) // another process took that device
	}
}

func configure(control, file int) (*os.File, error) {
	n, err := unix.IoctlRetInt(control, unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return nil, os.NewSyscallError("LOOP_CTL_GET_FREE", err)
	}
	name := fmt.Sprintf("/dev/loop%d", n)
	if err := unix.Mknod(name, unix.S_IFBLK|0o600, int(unix.Mkdev(7, uint32(n)))); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, os.NewSyscallError("mknod", err)
	}
	loop, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	c := unix.LoopConfig{Fd: uint32(file), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
	if err := unix.IoctlLoopConfigure(int(loop.Fd()), &c); err != nil {
		loop.Close()
		return nil, os.NewSyscallError("LOOP_CONFIGURE", err)
	}
	return loop, nil
}

// Unmount unmounts what [Type.Mount] mounted, waiting a little for whoever was
// killed while using it.
func Unmount(dir string) error {
	for tries := 0; ; tries++ {
		err := unix.Unmount(dir, 0)
		if !errors.Is(err, unix.EBUSY) {
			return os.NewSyscallError("umount", err)
		}
		if tries == 200 {
			return os.NewSyscallError("umount", errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH)))
		}
		time.Sleep(10 * time.Millisecond)
	}
}
