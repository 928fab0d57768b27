//go:build !linux

package directory

import (
	"os"
	"path"
)

// A passage leads from the folder of unfinished files into one that importers see.
type passage struct {
	root     *os.Root
	from, to string
}

func openPassage(root *os.Root, from, to string) (passage, error) {
	return passage{root, from, to}, nil
}

func (passage) close() error { return nil }

// take gives a temporary file its name, which must not exist: a hard link refuses
// to replace anything.
func (p passage) take(temp, name string) error {
	if err := p.root.Link(path.Join(p.from, temp), path.Join(p.to, name)); err != nil {
		return err
	}
	return p.root.Remove(path.Join(p.from, temp))
}
