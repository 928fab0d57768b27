package beacon

import (
	"fmt"

	"inventorybeacon/uploads"
)

// Requeue offers to one destination, or to all if sink is empty, the files that it
// set aside or deferred and that pick picks, now and as if nothing had happened.
// It returns how many offers that makes. A relay that a loop stopped goes on.
func (b *Beacon) Requeue(sink string, pick func(uploads.Upload) bool) (n int, err error) {
	found := false
	for i, r := range b.config.Relay {
		if sink != "" && sink != r.Name {
			continue
		}
		found = true
		picked := map[uint64]bool{}
		for _, seq := range b.relays[i].Troubled() {
			if u, ok := b.spool.Lookup(seq); ok && pick(u) {
				picked[seq] = true
			}
		}
		n += b.relays[i].Pardon(func(seq uint64) bool { return picked[seq] })
	}
	if !found {
		return 0, fmt.Errorf("no destination is called %q: run `beacon status` to see which there are", sink)
	}
	return n, nil
}
