package drop

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"inventorybeacon/uploads/durablefile"
)

const whySuffix = ".why.txt"

// reject moves an entry away and says why beside it. The reason comes first:
// who sees the entry there finds it.
func (f *Folder) reject(name, why string, e *entry, now time.Time) time.Time {
	f.o.Log.Warn("bundle rejected", "entry", name, "why", why)
	if err := f.setAside(name, why); err != nil {
		return f.later(name, err, e, now)
	}
	return time.Time{}
}

func (f *Folder) setAside(name, why string) error {
	if err := f.free(rejectedDir, name, whySuffix); err != nil {
		return err
	}
	root, err := os.OpenRoot(filepath.Join(f.dir, rejectedDir))
	if err != nil {
		return err
	}
	defer root.Close()
	if err := durablefile.Replace(root, name+whySuffix, []byte(why+"\n"), 0o644); err != nil {
		return err
	}
	return f.rename(name, rejectedDir, name)
}

// move puts an entry into a folder, under a name that an older one makes free.
func (f *Folder) move(name, folder, to string) error {
	if err := f.free(folder, to); err != nil {
		return err
	}
	return f.rename(name, folder, to)
}

func (f *Folder) rename(name, folder, to string) error {
	return os.Rename(filepath.Join(f.dir, name), filepath.Join(f.dir, folder, to))
}

// free renames what has the name, and what belongs to it by one of the
// suffixes, to the first <name>.<n> that none of them has.
func (f *Folder) free(folder, name string, suffixes ...string) error {
	suffixes = append(suffixes, "")
	taken := func(name string) bool {
		for _, suffix := range suffixes {
			if _, err := os.Lstat(filepath.Join(f.dir, folder, name+suffix)); !errors.Is(err, fs.ErrNotExist) {
				return true
			}
		}
		return false
	}
	if !taken(name) {
		return nil
	}
	n := 1
	for taken(fmt.Sprintf("%s.%d", name, n)) {
		n++
	}
	for _, suffix := range suffixes {
		from := filepath.Join(f.dir, folder, name+suffix)
		err := os.Rename(from, filepath.Join(f.dir, folder, fmt.Sprintf("%s.%d%s", name, n, suffix)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
