//go:build !windows

package directory

import (
	"errors"
	"os"
)

// syncFolder makes the names in a folder durable.
func syncFolder(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// syncFound makes a file durable that is open for reading.
func syncFound(f *os.File) error { return f.Sync() }
