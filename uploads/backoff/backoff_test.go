package backoff_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/uploads/backoff"
)

func TestDelayDoublesUpToMax(t *testing.T) {
	b := backoff.Backoff{Min: time.Second, Max: 10 * time.Second, Rand: func() float64 { return 1 }}
	for n, want := range []time.Duration{0: 0, 1: 1, 2: 2, 3: 4, 4: 8, 5: 10, 6: 10} {
		if n > 0 && b.Delay(n) != want*time.Second {
			t.Errorf("Delay(%d) = %v, want %v", n, b.Delay(n), want*time.Second)
		}
	}
	if got := b.Delay(1 << 40); got != 10*time.Second {
		t.Errorf("Delay after ages = %v", got)
	}
}

// Full jitter: anything between nothing and the ceiling, evenly.
func TestDelayIsSpread(t *testing.T) {
	b := backoff.Backoff{Min: time.Minute, Max: time.Minute}
	var buckets [10]int
	for range 10_000 {
		buckets[int(b.Delay(3)*10/time.Minute)]++
	}
	for i, n := range buckets {
		if n < 700 || n > 1300 {
			t.Errorf("tenth %d: %d of 10000 delays", i, n)
		}
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if !backoff.Sleep(t.Context(), time.Hour) || time.Since(start) != time.Hour {
			t.Errorf("slept %v", time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if backoff.Sleep(ctx, time.Hour) {
			t.Error("slept past the end of its context")
		}
	})
}
