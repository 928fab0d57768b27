package directory

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// A passage leads from the folder of unfinished files into one that importers
// see. Both are held open, since walking to them costs as much as what is done there.
type passage struct{ from, to *os.File }

func openPassage(root *os.Root, from, to string) (passage, error) {
	a, err := root.Open(from)
	if err != nil {
		return passage{}, err
	}
	b, err := root.Open(to)
	if err != nil {
		a.Close()
		return passage{}, err
	}
	return passage{a, b}, nil
}

func (p passage) close() error { return errors.Join(p.from.Close(), p.to.Close()) }

// take gives a temporary file its name, which must not exist: by a rename that is
// told to replace nothing, or, where there is no such thing (NFS), by a hard link,
// which refuses to everywhere.
func (p passage) take(temp, name string) error {
	err := unix.Renameat2(int(p.from.Fd()), temp, int(p.to.Fd()), name, unix.RENAME_NOREPLACE)
	for _, unable := range []error{unix.EINVAL, unix.ENOTSUP, unix.ENOSYS} {
		if errors.Is(err, unable) {
			return p.link(temp, name)
		}
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: temp, New: name, Err: err}
	}
	return nil
}

func (p passage) link(temp, name string) error {
	if err := unix.Linkat(int(p.from.Fd()), temp, int(p.to.Fd()), name, 0); err != nil {
		return &os.LinkError{Op: "link", Old: temp, New: name, Err: err}
	}
	return unix.Unlinkat(int(p.from.Fd()), temp, 0)
}
