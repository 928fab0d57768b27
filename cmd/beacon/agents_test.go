package main

import (
	"strings"
	"testing"
	"time"

	"inventorybeacon/uploads/catalogue"
)

// How much a device sent is not known of one that only other beacons told of.
func TestAgentsTableDoesNotCountWhatWentElsewhere(t *testing.T) {
	now := time.Now()
	told := catalogue.Device{Name: "ws1", LastSeen: now, Beacon: "leaf", Heard: now, Told: []catalogue.Told{{Contact: catalogue.Contact{LastSeen: now, Spool: -1}, Beacon: "leaf"}}}
	calls := catalogue.Device{Name: "ws2", LastSeen: now, Contacts: []catalogue.Contact{{LastSeen: now, Spool: -1}}}
	for _, tt := range []struct {
		device         catalogue.Device
		uploads, bytes string
	}{{told, "-", "-"}, {calls, "0", "0 B"}} {
		table := agentsTable([]catalogue.Device{tt.device}, now)
		got := map[string]string{}
		for i, title := range table.Header {
			got[title] = table.Rows[0][i]
		}
		if got["UPLOADS"] != tt.uploads || got["BYTES"] != tt.bytes {
			t.Errorf("%s: %v", tt.device.Name, got)
		}
		var facts strings.Builder
		if err := deviceFacts(tt.device, now).write(&facts); err != nil || strings.Contains(facts.String(), "0 B") != (tt.bytes == "0 B") {
			t.Errorf("%s, %v", facts.String(), err)
		}
	}
}
