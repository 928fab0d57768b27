package directory

import (
	"errors"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// publish gives a temporary file its name, which must not exist.
//
// A hard link refuses to replace anything on every file system that has them.
// Where there are none (CIFS, FAT), a rename that is told not to replace does.
func publish(root *os.Root, temp, name string) error {
	err := root.Link(temp, name)
	if err == nil {
		return root.Remove(temp)
	}
	for _, unable := range []error{unix.EPERM, unix.ENOTSUP, unix.ENOSYS, unix.EMLINK} {
		if errors.Is(err, unable) {
			return renameNoReplace(root, temp, name)
		}
	}
	return err
}

func renameNoReplace(root *os.Root, from, to string) error {
	a, err := root.Open(path.Dir(from))
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := root.Open(path.Dir(to))
	if err != nil {
		return err
	}
	defer b.Close()
	err = unix.Renameat2(int(a.Fd()), path.Base(from), int(b.Fd()), path.Base(to), unix.RENAME_NOREPLACE)
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}
