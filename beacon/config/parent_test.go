package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"inventorybeacon/failover"
)

func loadRelay(t *testing.T, text string) (*Config, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "beacon.yaml")
	if err := os.WriteFile(name, []byte("relay:\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := Load(Sources{File: name})
	return c, err
}

func TestParentListsItsBeacons(t *testing.T) {
	c, err := loadRelay(t, `
  - name: up
    hours: ["22:00-06:00", "sat,sun"]
    time_zone: Europe/Berlin
    bandwidth: 2MiB
    beacon:
      selector: MgsPing
      beacons:
        - {name: hub1, url: "https://hub1.example.com/ManageSoftRL/", priority: 10}
        - {name: hub2, url: "http://hub2.example.com:8080/ManageSoftRL", auto_priority: true, proxy: "http://proxy:3128"}
  - name: one
    beacon: {url: "https://hub1.example.com/ManageSoftRL"}
  - name: old
    beacon: {url: "http://old.example.com/ManageSoftRL", dialect: classic, user: u, password: p, password_over_http: true}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []failover.Location{
		{Name: "hub1", Upload: "https://hub1.example.com/ManageSoftRL", Priority: 10, Proxy: failover.Direct},
		{Name: "hub2", Upload: "http://hub2.example.com:8080/ManageSoftRL", Auto: true, Proxy: "http://proxy:3128"},
	}
	if got := c.Relay[0].Beacon.Locations("up"); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	if got := c.Relay[1].Beacon.Locations("one"); len(got) != 1 || got[0].Name != "one" || got[0].Upload != want[0].Upload {
		t.Errorf("%+v", got)
	}
	open, err := c.Relay[0].OpenHours()
	if err != nil {
		t.Fatal(err)
	}
	if is, _ := open.At(time.Date(2026, 11, 25, 21, 30, 0, 0, time.UTC)); !is { // 22:30 in Berlin
		t.Error("closed at half past ten")
	}
	if c.Relay[0].Bandwidth != 2<<20 {
		t.Errorf("bandwidth %d", c.Relay[0].Bandwidth)
	}
	if kinds := c.Relay[2].Kinds; !slices.Contains(kinds, "Inventories") || slices.Contains(kinds, "BeaconStatus") {
		t.Errorf("an incumbent's server gets %v", kinds)
	}
	if len(c.Relay[1].Kinds) != 0 {
		t.Errorf("a beacon gets %v", c.Relay[1].Kinds)
	}
}

func TestParentMistakesAreNamed(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`beacon: {}`, "no http or https URL"},
		{`beacon: {url: "https://a/x", beacons: [{name: b, url: "https://b/x"}]}`, "one of them is enough"},
		{`beacon: {beacons: [{url: "https://b/x"}]}`, "beacons[0].name: is missing"},
		{`beacon: {beacons: [{name: b, url: "https://b/x"}, {name: b, url: "https://c/x"}]}`, "taken by another beacon"},
		{`beacon: {beacons: [{name: b, url: "https://b/x"}, {name: c, url: "https://b/x/"}]}`, "listed twice"},
		{`beacon: {beacons: [{name: b, url: "https://b/x", proxy: "socks:1"}]}`, "proxy"},
		{`beacon: {url: "https://a/x", selector: "MgsPing("}`, "selector"},
		{`beacon: {url: "https://a/x", dialect: old}`, "dialect"},
		{`beacon: {url: "https://a/x", user: u, password: p}`, "for dialect: classic"},
		{`beacon: {url: "https://a/x", dialect: classic, user: u}`, "both user and password"},
		{`beacon: {url: "http://a/x", dialect: classic, user: u, password: p}`, "password_over_http"},
		{`{hours: ["25:00"], directory: {path: x}}`, "for example"},
		{`{time_zone: Nowhere/Atall, directory: {path: x}}`, "time_zone"},
		{`{bandwidth: 1KiB, directory: {path: x}}`, "16KiB"},
	} {
		text := "  - name: up\n    " + tt.text + "\n"
		if after, ok := strings.CutPrefix(tt.text, "{"); ok {
			text = "  - {name: up, " + after + "\n"
		}
		if _, err := loadRelay(t, text); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "beacon.yaml:0") {
			t.Errorf("%s: %v, want %q", tt.text, err, tt.want)
		}
	}
}
