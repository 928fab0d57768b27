//go:build unix

package beacon

import (
	"math"

	"golang.org/x/sys/unix"
)

// descriptors is how many files and connections this process may have open.
func descriptors() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return math.MaxInt32 // then nobody counts them
	}
	return int(min(uint64(l.Cur), math.MaxInt32))
}
