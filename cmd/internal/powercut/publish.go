//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"inventorybeacon/policy"
)

// A publication is a revision that an administrator was told is in force.
type publication struct {
	Number uint64
	Tick   uint64
}

// publishEvery leaves the machine to the uploads most of the time.
const publishEvery = 300 * time.Millisecond

// publishAll publishes one bundle after the other on the beacon.
func (s *site) publishAll(ctx context.Context) {
	dir := filepath.Join(s.dir, "bundle")
	for n := 0; ctx.Err() == nil; n++ {
		if number, err := s.publish(ctx, dir, n); err == nil {
			s.ledger.published(number)
		}
		select {
		case <-ctx.Done():
		case <-time.After(publishEvery):
		}
	}
}

func (s *site) publish(ctx context.Context, dir string, n int) (number uint64, err error) {
	s.restarting.Lock() // else it would own the files that the beacon wants to open
	defer s.restarting.Unlock()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	text := fmt.Sprintf("bundle: cut\napplies_to:\n  devices: [\"*\"]\npriority: 50\nsettings:\n  Tracker:\n    IncludeDirectory: \"/opt/%d\"\n", n)
	if err := os.WriteFile(filepath.Join(dir, "bundle.yaml"), []byte(text), 0o600); err != nil {
		return 0, err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(s.bin, "beacon"), "policy", "publish", dir, "--data", s.data(beacon), "--json").Output()
	if err != nil {
		return 0, err
	}
	var told struct {
		Revision policy.Revision `json:"revision"`
	}
	err = json.Unmarshal(out, &told)
	return told.Revision.Number, err
}
