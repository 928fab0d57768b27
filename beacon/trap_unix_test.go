//go:build unix

package beacon_test

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
)

// trap makes a file that tells whether anybody has it open to read: whoever
// opens it waits there for a writer.
func trap(t *testing.T) (path string, opened func() bool) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "trap")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, func() bool {
		fd, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
		if errors.Is(err, syscall.ENXIO) {
			return false // nobody reads
		}
		syscall.Close(fd)
		return true
	}
}
