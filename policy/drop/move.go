package drop

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"inventorybeacon/policy/bundle"
	"inventorybeacon/uploads/durablefile"
)

const whySuffix = ".why.txt"

// errReplaced means that the entry is not the one that was read any more.
var errReplaced = errors.New("another one has taken its place")

// reject moves an entry away and says why beside it. The reason comes first:
// who sees the entry there finds it.
func (f *Folder) reject(name, why string, e *entry, now time.Time) time.Time {
	f.o.Log.Warn("bundle rejected", "entry", name, "why", why)
	return f.after(f.setAside(name, why, e), name, e, now)
}

func (f *Folder) setAside(name, why string, e *entry) error {
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
	err = f.rename(name, rejectedDir, name, e)
	if errors.Is(err, errReplaced) {
		err = errors.Join(err, root.Remove(name+whySuffix)) // it was about another one
	}
	return err
}

// move puts an entry into a folder, under a name that an older one makes free.
func (f *Folder) move(name, folder, to string, e *entry) error {
	if err := f.free(folder, to); err != nil {
		return err
	}
	return f.rename(name, folder, to, e)
}

// rename moves the entry, unless another one has taken its place since it was
// looked at: nothing leaves the drop folder that was not read. It looks after
// the move, when nobody finds the entry by its name any more.
func (f *Folder) rename(name, folder, to string, e *entry) error {
	from, dest := filepath.Join(f.dir, name), filepath.Join(f.dir, folder, to)
	if err := os.Rename(from, dest); err != nil {
		return err
	}
	look, err := bundle.LookAt(dest)
	if err != nil || look.Same(e.look) {
		return err
	}
	if _, err := os.Lstat(from); !errors.Is(err, fs.ErrNotExist) {
		return nil // a still newer one is there, and is looked at next
	}
	return errors.Join(errReplaced, os.Rename(dest, from))
}

// after returns when to look again at an entry that was moved, or was not.
func (f *Folder) after(err error, name string, e *entry, now time.Time) time.Time {
	switch {
	case err == nil:
		return time.Time{}
	case errors.Is(err, errReplaced):
		return now.Add(f.o.Settle)
	}
	return f.later(name, err, e, now)
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
