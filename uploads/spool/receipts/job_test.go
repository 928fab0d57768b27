package receipts_test

import (
	"fmt"
	"slices"
	"testing"

	"inventorybeacon/uploads/spool/receipts"
)

// TestRunsAreMergedBeforeThereAreMany: while logs come faster than runs are merged,
// there are still no more than some tens to look in.
func TestRunsAreMergedBeforeThereAreMany(t *testing.T) {
	o := receipts.Small(10, 1000)
	for _, tt := range []struct {
		logs         int
		runs         []int
		fromL, fromR int
	}{
		{1, nil, 0, 0},
		{2, nil, 1, 0},
		{1, slices.Repeat([]int{10}, 4), 0, 4},
		{5, slices.Repeat([]int{10}, 4), 1, 0},
		{5, slices.Repeat([]int{10}, 31), 1, 0},
		{5, slices.Repeat([]int{10}, 32), 0, 32},
		{50, append([]int{1000, 1000}, slices.Repeat([]int{10}, 60)...), 0, 60},
		{5, slices.Repeat([]int{1000}, 60), 1, 0}, // which stay as they are
		{5, append(slices.Repeat([]int{1000}, 60), 10, 10, 10, 10), 1, 0},
	} {
		t.Run(fmt.Sprint(tt.logs, len(tt.runs)), func(t *testing.T) {
			if l, r := receipts.NextJob(o, tt.logs, tt.runs...); l != tt.fromL || r != tt.fromR {
				t.Errorf("of %d logs and %d runs, want %d and %d", l, r, tt.fromL, tt.fromR)
			}
		})
	}
}
