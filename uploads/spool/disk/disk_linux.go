package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// datasync leaves out the times of the file, which nobody reads, and so has no
// metadata to write when a file's blocks were written before.
func datasync(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		for {
			failed = unix.Fdatasync(int(fd))
			if !errors.Is(failed, unix.EINTR) {
				return
			}
		}
	})
	if err == nil {
		err = os.NewSyscallError("fdatasync", failed)
	}
	return err
}
