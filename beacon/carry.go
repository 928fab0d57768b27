package beacon

import (
	"fmt"
	"slices"

	"inventorybeacon/beacon/admission"
	"inventorybeacon/beacon/config"
	"inventorybeacon/uploads/spool"
)

// Delivered records that files reached a destination in another way than by its
// relay; it is durable on return. Copies are kept as if the relay had brought them.
func (b *Beacon) Delivered(sink string, marks []spool.Mark) error {
	if !slices.ContainsFunc(b.config.Relay, func(r config.Relay) bool { return r.Name == sink }) {
		return fmt.Errorf("no destination is called %q: run `beacon status` to see which there are", sink)
	}
	return keeper{b.gate, b.kept, b.words}.Deliver(sink, marks)
}

// Room says why a file of a kind, of so many bytes, is not taken now for want of
// room, or nil.
func (b *Beacon) Room(kind string, bytes int64) error {
	return b.agents.Room(admission.ClassOf(kind), bytes)
}
