package beacon

import (
	"runtime"
	"testing"
)

func TestProcessorsAreOvercommitted(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	t.Setenv("GOMAXPROCS", "3")
	OvercommitProcessors()
	if n := runtime.GOMAXPROCS(0); n != before {
		t.Errorf("the environment chose %d, and it became %d", before, n)
	}
	t.Setenv("GOMAXPROCS", "")
	for range 2 {
		OvercommitProcessors()
	}
	if n := runtime.GOMAXPROCS(0); n != processors+atDisk {
		t.Errorf("%d for %d processors", n, processors)
	}
}
