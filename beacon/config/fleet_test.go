package config_test

import (
	"strings"
	"testing"
	"time"

	"inventorybeacon/beacon/config"
)

func TestFleetStoresAreChecked(t *testing.T) {
	c, _, err := config.Load(config.Sources{File: write(t, `
fleet:
  read:
    - {name: lake, s3: {endpoint: "https://s3.example.com", bucket: b}}
    - {name: sea, every: 1m, s3: {endpoint: "https://s3.example.com", bucket: b}}
`)})
	if err != nil || c.Fleet.Every != 5*time.Minute || c.Fleet.Read[0].Every != 5*time.Minute || c.Fleet.Read[1].Every != time.Minute {
		t.Fatalf("%+v, %v", c, err)
	}
	_, _, err = config.Load(config.Sources{File: write(t, `
fleet:
  read:
    - {name: lake, s3: {endpoint: "https://s3.example.com", bucket: b}}
    - {name: Lake, s3: {endpoint: "s3.example.com", bucket: b}}
    - {name: ../up, every: 1ms, s3: {endpoint: "https://s3.example.com"}}
    - {name: none}
`)})
	if err == nil {
		t.Fatal("no mistake was found")
	}
	for _, want := range []string{
		`:5: fleet.read[1].name: "Lake" is taken`, ":5: fleet.read[1].s3.endpoint: ", `:6: fleet.read[2].name: "../up" is no name`,
		":6: fleet.read[2].every: must be from 1s to 24h", ":6: fleet.read[2].s3.bucket: is missing", ":7: fleet.read[3].s3: is missing",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
}
