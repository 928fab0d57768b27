//go:build !windows

package durablefile

import "os"

func syncDir(d *os.File) error { return d.Sync() }
