package beacon

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/uploads"
)

// What is refused takes no room from those that fit; what is accepted does,
// until the disk shows it.
func TestRoomCountsWhatItTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := int64(100)
		r := &room{free: func() (int64, error) { return free, nil }, least: 10}
		for i, step := range []struct {
			bytes int64
			fits  bool
		}{{1000, false}, {60, true}, {31, false}, {30, true}, {-1, true}, {1, false}} {
			if err := r.check(step.bytes); (err == nil) != step.fits || err != nil && !errors.Is(err, uploads.ErrFull) {
				t.Errorf("step %d: %v", i, err)
			}
		}
		time.Sleep(2 * roomEvery)
		if err := r.check(50); err != nil {
			t.Errorf("asked again: %v", err)
		}
	})
}
