package network

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestWatchTellsOfNewAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		looks := []string{"10.0.0.1/8", "10.0.0.1/8", "", "10.0.0.1/8", "10.0.0.2/8", "10.0.0.2/8"}
		n := 0
		look := func() string {
			n++
			return looks[min(n, len(looks))-1]
		}
		var told []time.Duration
		start := time.Now()
		done := make(chan error)
		go func() { done <- watch(ctx, look, func(string) { told = append(told, time.Since(start)) }) }()
		time.Sleep(10 * time.Minute)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		// Losing the network tells nothing; having it back, and another address, does.
		if len(told) != 2 || told[0] != 3*interval || told[1] != 4*interval {
			t.Errorf("told at %v", told)
		}
	})
}
