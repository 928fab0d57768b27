package beacon

import (
	"context"
	"os"
	"runtime/debug"
	"time"

	"inventorybeacon/uploads/backoff"
)

const (
	// manyConnections is from how many on memory is saved at the cost of CPU: each
	// holds some 30 KiB, which garbage would double.
	manyConnections = 500
	// frugal is the garbage, in percent of what is in use, that is let lie around
	// then. Less costs CPU that senders wait for; more costs memory.
	frugal = 25
	// generous is the same while few are: more than Go's 100, since what is in use then
	// is little, and collecting takes from a burst of uploads.
	generous = 300
	// frugalEvery is how often connections are counted. A crowd comes within a second,
	// and must not bring as much garbage first; it stays for minutes.
	frugalEvery = 100 * time.Millisecond
)

// saveMemory collects garbage sooner while many are connected, until ctx is done,
// unless the environment says how often to (GOGC).
func (b *Beacon) saveMemory(ctx context.Context) error {
	if os.Getenv("GOGC") != "" {
		<-ctx.Done()
		return ctx.Err()
	}
	defer debug.SetGCPercent(debug.SetGCPercent(generous))
	for many := false; backoff.Sleep(ctx, frugalEvery); {
		n := 0
		for _, f := range b.fronts {
			n += f.crowd.count().taken
		}
		if now := n >= manyConnections; now != many {
			many = now
			percent := generous
			if many {
				percent = frugal
			}
			debug.SetGCPercent(percent)
		}
	}
	return ctx.Err()
}
