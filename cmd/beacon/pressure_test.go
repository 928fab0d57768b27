package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"inventorybeacon/beacon/admission"
	"inventorybeacon/uploads/catalogue"
)

// That somebody was turned away does not say that the beacon had too much to do: one
// device's quota is enough.
func TestPressureProblemsSayOnlyWhatIsKnown(t *testing.T) {
	for n, want := range map[int]string{1: "1 sender (1 inventory, 0 usage, 0 logs) was turned away", 2: "2 senders (2 inventory, 0 usage, 0 logs) were turned away"} {
		p := admission.Pressure{ConnectionsLimit: 1, Waiting: map[string]int{"inventory": n}, Rate: 2253, Drained: time.Minute}
		got := pressureProblems(p)
		if len(got) != 1 || !strings.HasPrefix(got[0], want) || strings.Contains(got[0], "more comes") || strings.Contains(got[0], "2253") {
			t.Errorf("%q", got)
		}
	}
}

// A time that is not known is left out, and is no time of the year 1.
func TestStatusAndDevicesLeaveOutUnknownTimes(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	runs(t, data)
	out, err := prints(t, "--data", data, "--json", "status")
	if err != nil || !strings.Contains(out, `"revision"`) || strings.Contains(out, "0001-01-01") {
		t.Errorf("%s, %v", out, err)
	}
	now := time.Now()
	told := catalogue.Told{Beacon: "leaf", Child: "leaf", Heard: now, Contact: catalogue.Contact{Name: "ws1", LastSeen: now}}
	if b, err := json.Marshal(told); err != nil || strings.Contains(string(b), "0001-01-01") {
		t.Errorf("%s, %v", b, err)
	}
}
