//go:build linux

package main

import (
	"encoding/json"
	"os"
	"path/filepath"

	"inventorybeacon/agentside/datadir"
	"inventorybeacon/agentside/pull"
	"inventorybeacon/uploads/spool"
)

// examineAgent looks for every file in the folder, in the spool, and with the
// beacon.
func examineAgent(q *question, a *answer) {
	s := openSpool(q, a, spool.Options{SegmentBytes: 1 << 20, Spares: -1})
	if s == nil {
		return
	}
	defer s.Close()
	held := heldIn(s, a)
	folder := filesBelow(filepath.Join(q.Data, "outbox"), a)
	for _, c := range q.Claims {
		switch {
		case held[c.SHA256], folder[c.SHA256]:
			a.Held++
		case q.Above[c.SHA256]:
			a.Gone++
		default:
			a.lost(c, "it is neither in the folder nor in the spool, and the beacon has not got it")
		}
	}
	examineState(q, a)
}

// examineState opens what else the agent keeps, as the agent does.
func examineState(q *question, a *answer) {
	states, err := filepath.Glob(filepath.Join(q.Data, datadir.State, "*.json"))
	if err != nil {
		a.fault("%v", err)
	}
	for _, file := range states {
		if b, err := os.ReadFile(file); err != nil || !json.Valid(b) {
			a.fault("the agent's %s is not whole: %q, %v", filepath.Base(file), b, err)
		}
	}
	dir, err := datadir.Open(q.Data, "powercut")
	if err != nil {
		a.fault("the agent's data directory does not open: %v", err)
		return
	}
	defer dir.Close()
	if _, err := dir.AgentID(); err != nil {
		a.fault("%v", err)
	}
	store, err := pull.OpenStore(dir.Join(datadir.Policy))
	if err != nil {
		a.fault("the agent's policy store does not open: %v", err)
		return
	}
	defer store.Close()
	if _, err := store.Load(); err != nil {
		a.fault("the agent's policy does not load: %v", err)
	}
}
