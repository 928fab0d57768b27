package uploads

import "testing"

func TestUploadCountsAgainstWhoSentIt(t *testing.T) {
	pc := Device{"EXAMPLE", "PC1"}
	for _, tt := range []struct {
		u    Upload
		want string
	}{
		{Upload{Device: pc, Peer: "192.0.2.1"}, "device:example/pc1"},
		{Upload{Device: Device{"example", "pc1"}, Peer: "192.0.2.2"}, "device:example/pc1"},
		{Upload{Peer: "192.0.2.1"}, "peer:192.0.2.1"},
		{Upload{Device: pc, Peer: "192.0.2.1", Via: []string{"leaf", "hub"}}, "beacon:hub"},
	} {
		if got := tt.u.Source(); got != tt.want {
			t.Errorf("%+v counts against %q, want %q", tt.u, got, tt.want)
		}
	}
}
