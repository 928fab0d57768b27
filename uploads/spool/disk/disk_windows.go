package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

func free(dir string) (int64, error) {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var avail uint64
	if err := windows.GetDiskFreeSpaceEx(p, &avail, nil, nil); err != nil {
		return 0, os.NewSyscallError("GetDiskFreeSpaceEx", err)
	}
	return int64(avail), nil
}

// ErrFull is what a write says when there is no room.
const ErrFull = windows.ERROR_DISK_FULL

// IsFull tells whether an error means that there is no room.
func IsFull(err error) bool {
	return errors.Is(err, ErrFull) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}
