package beacon

import "testing"

// Agents leave the beacon the descriptors it needs to pass on what they send.
func TestConnectionsLeaveDescriptors(t *testing.T) {
	for _, tt := range []struct{ configured, listeners, limit, want int }{
		{16384, 1, 1 << 20, 16384},
		{16384, 2, 20480, 9728},
		{16384, 1, 1024, 512},
		{16384, 1, 64, 32},
		{8, 2, 64, 8},
	} {
		if got := connections(tt.configured, tt.listeners, tt.limit); got != tt.want {
			t.Errorf("%+v: %d", tt, got)
		}
	}
}
