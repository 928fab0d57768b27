//go:build !windows

package directory

import "os"

// syncFound makes a file durable that is open for reading.
func syncFound(f *os.File) error { return f.Sync() }
