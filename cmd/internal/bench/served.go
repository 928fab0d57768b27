//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Relays of the measured beacon: to nobody who answers, as in an outage of the
// centre, or into a directory as it goes.
const (
	relayNone    = ""
	relayPaused  = `beacon: {url: "http://127.0.0.1:9/ManageSoftRL"}`
	relayRunning = "directory: {path: %q}"
)

const beaconConf = `
data: %q
listeners: [{address: "127.0.0.1:0", access: anonymous}]
admin: "127.0.0.1:0"
log: {level: error}
relay: [{name: centre, %s}]
`

// launchBeacon starts bin/beacon in a directory with what lies there.
func launchBeacon(dir, relay string) (*child, error) {
	if relay == relayRunning {
		relay = fmt.Sprintf(relay, filepath.Join(dir, "relayed"))
	}
	conf := filepath.Join(dir, "beacon.yaml")
	if err := os.WriteFile(conf, fmt.Appendf(nil, beaconConf, filepath.Join(dir, "data"), relay), 0o644); err != nil {
		return nil, err
	}
	c, err := start("bin/beacon", "serve", "--config", conf)
	if err != nil {
		return nil, fmt.Errorf("%w: make build first", err)
	}
	c.addr = strings.TrimPrefix(field(c.line, "agents"), "http://")
	return c, nil
}

// launchWarm starts bin/beacon, lets it take as much as makes it keep all its
// spare segments, and waits until they are ready.
func launchWarm(dir, relay string) (*child, error) {
	c, err := launchBeacon(dir, relay)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(c.warm(), c.until("beacon_spool_spare_segments", func(n float64) bool { return n >= spares })); err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

// A beacon keeps no more spare segments than it has begun ones: warmUploads of
// warmBytes fill one more than all spares.
const (
	spares      = 4
	warmBytes   = 256 << 10
	warmUploads = (spares + 1) * (64 << 20) / warmBytes
)

// warm uploads what makes a beacon that is new like one that has been in use.
func (c *child) warm() error {
	body := make([]byte, warmBytes)
	_, err := load(c.addr, 1, warmUploads, http.StatusOK, func(n int) (string, []byte) {
		binary.LittleEndian.PutUint32(body, uint32(n)) // one client: the body before is sent
		return putLog(n, body), body
	})
	return err
}

func putLog(n int, body []byte) string {
	name := url.PathEscape(fmt.Sprintf("ws%04d at 20260101T000000 (%05d).log", n%logDevices, n))
	return fmt.Sprintf("PUT /ManageSoftRL/Logs/%s HTTP/1.1\r\nHost: beacon\r\nContent-Length: %d\r\n\r\n", name, len(body))
}

// logDevices is how many machines the logs come from.
const logDevices = 200

// field is a value of the line that tells that a beacon is ready.
func field(line, key string) string {
	_, rest, _ := strings.Cut(line, key+"=")
	value, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	return value
}

// untilEvery is how often a beacon is asked, which takes it about a millisecond.
const untilEvery = 40 * time.Millisecond

// plain asks for numbers as they are: compressing them costs more than sending them.
var plain = http.Client{Transport: &http.Transport{DisableCompression: true}}

// until waits until a number that the beacon tells is right.
func (c *child) until(name string, right func(float64) bool) error {
	admin := field(c.line, "admin")
	for range int(2 * time.Minute / untilEvery) {
		n, err := metric(admin, name)
		if err != nil {
			return err
		}
		if right(n) {
			return nil
		}
		time.Sleep(untilEvery)
	}
	return fmt.Errorf("%s is not as it should be after two minutes", name)
}

// metric reads a number that a beacon tells.
func metric(admin, name string) (float64, error) {
	resp, err := plain.Get(admin + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(rest, 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}
