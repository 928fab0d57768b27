//go:build linux

package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"inventorybeacon/cmd/internal/child"
)

const (
	// sinkName is what both beacons call their destination.
	sinkName = "up"
	// segmentBytes are few, so that segments are freed and used again many times.
	segmentBytes = 256 << 10
)

// configure writes the configuration of a beacon with its files in data; above is
// where a beacon that is no parent relays to.
func configure(file string, r role, data, above string) error {
	up := "beacon: {url: " + above + "}"
	if r == parent {
		up = "directory: {path: " + filepath.Join(data, relayedDir) + "}"
	}
	text := fmt.Sprintf("name: %s\nrelay:\n  - name: %s\n    %s\nspool: {segment_bytes: %d, min_free: 1MiB}\n", r, sinkName, up, segmentBytes)
	if r == parent {
		text += fmt.Sprintf("kinds: {%s: {max: %d}}\n", refusedKind, refusedBytes)
	}
	return os.WriteFile(file, []byte(text), 0o600)
}

// serve starts a beacon and returns where its agents connect.
func serve(bin string, env []string, r role, dir, data, above string) (*child.Program, *url.URL, error) {
	config := filepath.Join(dir, string(r)+".yaml")
	if err := configure(config, r, data, above); err != nil {
		return nil, nil, err
	}
	p, err := child.Start(env, filepath.Join(bin, "beacon"), "serve", "--config", config, "--data", data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	at, err := p.Agents()
	return p, at, err
}
