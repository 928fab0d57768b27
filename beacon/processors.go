package beacon

import (
	"os"
	"runtime"
)

// processors is how many the system lets this program use.
var processors = runtime.GOMAXPROCS(0)

// atDisk is how many goroutines are taken to wait for the disk at any time: the one
// that syncs, and one more. More than there are make the system switch between them
// for nothing; with fewer, a processor idles while uploads wait for it.
const atDisk = 2

// OvercommitProcessors keeps all processors busy while goroutines wait for the disk.
// To the runtime, a goroutine in a sync runs until it has looked a few times, which
// it does the later the less there is to see; on a machine of two that was a quarter
// of all processor time. The number in the environment (GOMAXPROCS) is not changed.
func OvercommitProcessors() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(processors + atDisk)
	}
}
