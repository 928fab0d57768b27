//go:build !linux

package directory

import "os"

// publish gives a temporary file its name, which must not exist: a hard link
// refuses to replace anything.
func publish(root *os.Root, temp, name string) error {
	if err := root.Link(temp, name); err != nil {
		return err
	}
	return root.Remove(temp)
}
