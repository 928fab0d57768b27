//go:build !unix

package beacon_test

import (
	"path/filepath"
	"testing"
)

// trap names a file that there is not; whether somebody looks for it cannot be
// seen here.
func trap(t *testing.T) (path string, opened func() bool) {
	return filepath.Join(t.TempDir(), "trap"), func() bool { return false }
}
