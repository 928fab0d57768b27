package spool_test

import (
	"testing"

	"inventorybeacon/uploads/spool"
)

// TestLossesOfManyUploadsAreForgotten: wherever among the losses they are, those of
// uploads that are gone are forgotten, and no others.
func TestLossesOfManyUploadsAreForgotten(t *testing.T) {
	const n = 20_000
	for name, there := range map[string]func(seq uint64) bool{
		"none":       func(uint64) bool { return true },
		"all":        func(uint64) bool { return false },
		"the oldest": func(seq uint64) bool { return seq > 9_999 },
		"the newest": func(seq uint64) bool { return seq < 9_999 },
		"some":       func(seq uint64) bool { return seq%3 == 0 },
	} {
		left := spool.LossesLeft(n, there)
		for seq := uint64(1); seq <= n; seq++ {
			if !there(seq) {
				continue
			}
			if len(left) == 0 || left[0] != seq {
				t.Fatalf("%s: the loss of %d is forgotten", name, seq)
			}
			left = left[1:]
		}
		if len(left) > 0 {
			t.Errorf("%s: %d are not forgotten, the first is of %d", name, len(left), left[0])
		}
	}
}
