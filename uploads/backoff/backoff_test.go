package backoff_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/uploads/backoff"
)

func TestDelayDoublesUpToItsBound(t *testing.T) {
	b := backoff.Backoff{Min: time.Second, Max: 4 * time.Minute, Rand: func() float64 { return 0.5 }}
	for n, want := range map[int]time.Duration{
		0: 500 * time.Millisecond, 1: 500 * time.Millisecond, 2: time.Second, 5: 8 * time.Second,
		9: 2 * time.Minute, 64: 2 * time.Minute, 1 << 30: 2 * time.Minute,
	} {
		if got := b.Delay(n); got != want {
			t.Errorf("Delay(%d) = %v, want %v", n, got, want)
		}
	}
}

func TestDelayIsSpreadOverAll(t *testing.T) {
	b := backoff.Backoff{Min: time.Second, Max: time.Minute}
	var low, high bool
	for range 1000 {
		d := b.Delay(20)
		low, high = low || d < 15*time.Second, high || d > 45*time.Second
		if d < 0 || d > time.Minute {
			t.Fatalf("Delay = %v", d)
		}
	}
	if !low || !high {
		t.Error("a thousand delays did not reach both ends")
	}
}

func TestSleepHeedsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if !backoff.Sleep(t.Context(), time.Hour) || time.Since(start) != time.Hour {
			t.Error("did not sleep an hour")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if backoff.Sleep(ctx, time.Hour) || time.Since(start) != time.Hour+time.Second {
			t.Error("did not wake up when told")
		}
	})
}
