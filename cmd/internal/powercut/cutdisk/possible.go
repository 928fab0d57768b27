//go:build linux

package cutdisk

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// ErrKernel means that this machine's kernel lacks what disks are made of, which
// no installation mends.
var ErrKernel = errors.New("this kernel has no FUSE or no loop devices")

// Possible says what is missing here to serve and mount disks, if anything.
func Possible() error {
	if os.Getuid() != 0 {
		return errors.New("mounting needs root")
	}
	for _, dev := range []string{"/dev/fuse", "/dev/loop-control"} {
		f, err := os.OpenFile(dev, os.O_RDWR, 0)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrKernel, err)
		}
		f.Close()
	}
	for _, t := range Types {
		if _, err := exec.LookPath(t.make[0]); err != nil {
			return fmt.Errorf("%s is not installed: .ci/system-tools does it", t.make[0])
		}
	}
	return nil
}
