package beacon

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/beacon/admission"
	"inventorybeacon/beacon/comeback"
	"inventorybeacon/uploads"
)

// What is refused takes no room from those that fit; what is accepted does,
// until the disk shows it.
func TestRoomCountsWhatItTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := int64(100)
		r := &room{free: func() (int64, error) { return free, nil }, files: func() int { return 0 }, marks: admission.Watermarks{Uploads: 10}}
		for i, step := range []struct {
			bytes int64
			fits  bool
		}{{1000, false}, {60, true}, {31, false}, {30, true}, {-1, true}, {1, false}} {
			if err := r.check(comeback.Inventory, step.bytes); (err == nil) != step.fits || err != nil && !errors.Is(err, uploads.ErrFull) {
				t.Errorf("step %d: %v", i, err)
			}
		}
		time.Sleep(2 * roomEvery)
		if err := r.check(comeback.Inventory, 50); err != nil {
			t.Errorf("asked again: %v", err)
		}
	})
}

// Logs stay away before inventories do, and everything before policy suffers;
// and the number of files counts whatever their size.
func TestRoomRefusesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free, held := int64(0), 0
		r := &room{
			free: func() (int64, error) { return free, nil }, files: func() int { return held }, most: 5,
			marks: admission.Watermarks{Logs: 200, Uploads: 100, Policy: 25},
		}
		for _, tt := range []struct {
			free                   int64
			held                   int
			inventory, usage, logs admission.Reason
		}{
			{1000, 0, "", "", ""},
			{199, 0, "", "", admission.DiskLow},
			{99, 0, admission.DiskFull, admission.DiskFull, admission.DiskFull},
			{24, 0, admission.DiskLast, admission.DiskLast, admission.DiskLast},
			{1000, 5, admission.Spool, admission.Spool, admission.Spool},
			{1000, 4, "", "", ""},
		} {
			free, held = tt.free, tt.held
			for c, want := range map[comeback.Class]admission.Reason{comeback.Inventory: tt.inventory, comeback.Usage: tt.usage, comeback.Logs: tt.logs} {
				time.Sleep(2 * roomEvery)
				var got admission.Reason
				err := r.check(c, 0)
				if e, ok := errors.AsType[*DiskError](err); ok {
					got = e.Reason
				}
				if got != want || (err != nil) != errors.Is(err, uploads.ErrFull) {
					t.Errorf("%d free, %d held, %v: %v, want %q", tt.free, tt.held, c, err, want)
				}
			}
		}
	})
}
