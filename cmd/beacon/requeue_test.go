package main

import (
	"strings"
	"testing"
	"time"

	"inventorybeacon/beacon/desk"
	"inventorybeacon/uploads/relay"
)

// Whoever requeues while a destination rests is told that it is tried, although no
// file of it was set aside.
func TestRequeueTellsOfDestinationsThatAreTriedAtOnce(t *testing.T) {
	sinks := []desk.SinkStatus{
		{Status: relay.Status{Sink: "well"}},
		{Status: relay.Status{Sink: "hub", FailuresInARow: 2}},
		{Status: relay.Status{Sink: "lake", FailuresInARow: 1}},
		{Status: relay.Status{Sink: "night", FailuresInARow: 1, ClosedUntil: time.Now().Add(time.Hour)}},
	}
	for name, want := range map[string]string{"": "hub lake", "lake": "lake", "well": ""} {
		if got := strings.Join(resting(sinks, name), " "); got != want {
			t.Errorf("of %q: %q, want %q", name, got, want)
		}
	}
	for _, tt := range []struct {
		resting []string
		want    string
	}{
		{nil, "0 files offered again\n"},
		{[]string{"hub"}, "0 files offered again\nhub, which failed, is tried at once; what waits for it goes on if it is well\n"},
	} {
		var out strings.Builder
		if err := writeRequeued(&out, desk.Requeued{}, tt.resting); err != nil || out.String() != tt.want {
			t.Errorf("%q, %v", out.String(), err)
		}
	}
}
