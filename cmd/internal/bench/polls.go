//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"inventorybeacon/policy/bundle"
	"inventorybeacon/policy/revision"
)

const (
	policyPath   = "/ManageSoftDL/Policies/Merged/BENCH_domain/Machine/ws%04d.npl?agent=1&os=linux&arch=amd64"
	pollClients  = 16
	pollsOfOne   = 60_000
	pollBar      = 0.8
	pollsDevices = 1000
)

const pollBundle = `bundle: bench
applies_to: {devices: ["*"]}
schedule:
  - event: Update Machine Policy
    run: policy
    triggers: [{type: daily, at: "00:05", repeat: 12h, for: 24h, window: 1h}]
settings:
  Tracker: {IncludeDirectory: "/opt;/srv"}
failover:
  beacons: [{name: b1, url: "http://b1.example.com"}]
`

// benchPolls measures a poll with nothing new on a kept connection: what an
// agent's poll costs beside the connection itself.
func benchPolls(ctx context.Context, dir string) ([]result, error) {
	store := filepath.Join(dir, "policy")
	if err := publish(ctx, filepath.Join(dir, "bench"), store); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ours, err := start(self, "contestant", "policy", store)
	if err != nil {
		return nil, err
	}
	defer ours.stop()
	peer, err := start(self, "contestant", "bare")
	if err != nil {
		return nil, err
	}
	defer peer.stop()
	etag, err := tagOf(ours.addr)
	if err != nil {
		return nil, err
	}
	poll := func(n int) (string, []byte) {
		path := fmt.Sprintf(policyPath, n%pollsDevices)
		return "GET " + path + " HTTP/1.1\r\nHost: beacon\r\nIf-None-Match: " + etag + "\r\n\r\n", nil
	}
	var p pairs
	for i := 0; i < fewestPairs+1 && ctx.Err() == nil; i++ {
		a, err := ours.measure(pollClients, pollsOfOne, http.StatusNotModified, poll)
		if err != nil {
			return nil, err
		}
		b, err := peer.measure(pollClients, pollsOfOne, http.StatusNotModified, poll)
		if err != nil {
			return nil, err
		}
		if i > 0 { // the first pair warms both up
			p.ours, p.peer = append(p.ours, a), append(p.peer, b)
		}
	}
	return []result{p.result("policy 304, keep-alive", "bare net/http handler from memory", pollBar)}, ctx.Err()
}

func publish(ctx context.Context, folder, store string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "bundle.yaml"), []byte(pollBundle), 0o644); err != nil {
		return err
	}
	s, err := revision.Open(store, revision.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	b, err := bundle.Open(folder)
	if err != nil {
		return err
	}
	defer b.Close()
	_, err = s.Publish(ctx, b, "bench", "")
	return err
}

// tagOf returns the entity tag all devices' policies share.
func tagOf(addr string) (string, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "HEAD "+policyPath+" HTTP/1.1\r\nHost: beacon\r\n\r\n", 1)
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodHead})
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("policy: %s", resp.Status)
	}
	return resp.Header.Get("ETag"), nil
}
