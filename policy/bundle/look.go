package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// ErrChanging means the files were not the same after reading as before.
var ErrChanging = errors.New("it changed while it was read")

// A Look is what a folder or archive looked like at one moment. Two equal
// looks some time apart mean that nobody was writing in between.
type Look struct {
	Folder bool
	files  []seen
}

type seen struct {
	path string
	info fs.FileInfo
}

// LookAt lists the folder or archive at path without reading any file.
func LookAt(path string) (Look, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return Look{}, err
	}
	look := Look{Folder: info.IsDir(), files: []seen{{".", info}}}
	if !look.Folder {
		return look, nil
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return Look{}, err
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == "." {
			return err
		}
		if len(look.files) > maxFiles {
			return fs.SkipAll // the reader says so
		}
		info, err := d.Info()
		look.files = append(look.files, seen{p, info})
		return err
	})
	if err != nil {
		return Look{}, fmt.Errorf("list %s: %w", filepath.Base(path), err)
	}
	return look, nil
}

// Same reports whether l and o list the same files, unchanged.
func (l Look) Same(o Look) bool {
	return l.Folder == o.Folder && slices.EqualFunc(l.files, o.files, func(a, b seen) bool {
		return a.path == b.path && a.info.Mode() == b.info.Mode() && os.SameFile(a.info, b.info) &&
			a.info.ModTime().Equal(b.info.ModTime()) && (a.info.IsDir() || a.info.Size() == b.info.Size())
	})
}
