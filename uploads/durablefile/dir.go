package durablefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// SyncDir makes the names in a directory of root durable. Whoever relies on a
// file that an earlier process left has to call it: that process may have been
// killed just before it did.
func SyncDir(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(syncDir(d), d.Close())
}

// MkdirAll is [os.MkdirAll] that a power cut does not undo.
func MkdirAll(dir string, perm fs.FileMode) error {
	parent := filepath.Dir(dir)
	if i, err := os.Stat(dir); err == nil && i.IsDir() {
		// Whoever made it may have been killed before it was durable. Not everybody may
		// read what is above, and usually it has been there for long.
		if d, err := os.Open(parent); err == nil {
			syncDir(d)
			d.Close()
		}
		return nil
	}
	if parent != dir {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, perm); err != nil {
		if i, serr := os.Stat(dir); serr != nil || !i.IsDir() { // else somebody else made it
			return err
		}
	}
	d, err := os.Open(parent)
	if err != nil {
		return err
	}
	return errors.Join(syncDir(d), d.Close())
}
