//go:build unix

package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, os.NewSyscallError("statfs", err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

// ErrFull is what a write says when there is no room.
const ErrFull = unix.ENOSPC

// IsFull tells whether an error means that there is no room.
func IsFull(err error) bool { return errors.Is(err, ErrFull) || errors.Is(err, unix.EDQUOT) }
