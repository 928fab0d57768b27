package beacon

import (
	"fmt"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v4/disk"

	"inventorybeacon/uploads"
)

// Without a configured watermark a twentieth of the disk stays free, at most
// 256 MiB: enough for policy and the catalogue to go on.
const (
	freeShare = 20
	mostFree  = 256 << 20
)

func (b *Beacon) leastFree() int64 {
	if n := int64(b.config.Spool.MinFree); n > 0 {
		return n
	}
	u, err := disk.Usage(b.config.Data)
	if err != nil {
		return mostFree
	}
	return min(mostFree, int64(u.Total/freeShare))
}

// A room decides whether the disk takes an upload.
type room struct {
	free  func() (int64, error)
	least int64

	mu    sync.Mutex
	left  int64
	err   error
	asked time.Time
}

// roomEvery is how old the answer about the disk may be. Asking more often
// costs a system call an upload; less often lets a burst overshoot further.
const roomEvery = 100 * time.Millisecond

func (r *room) check(bytes int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.asked) > roomEvery {
		r.left, r.err = r.free()
		r.asked = now
	}
	if r.err != nil {
		return fmt.Errorf("look at the disk: %w", r.err)
	}
	left := r.left - max(bytes, 0)
	if left < r.least {
		return fmt.Errorf("%w: %d bytes would be free, %d must stay", uploads.ErrFull, max(left, 0), r.least)
	}
	r.left = left // until the disk is asked again
	return nil
}
