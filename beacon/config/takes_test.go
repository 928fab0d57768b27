package config_test

import (
	"testing"

	"inventorybeacon/beacon/config"
)

func TestTakesNeedsARequiredDestination(t *testing.T) {
	optional := false
	to := func(required *bool, kinds ...string) config.Relay {
		return config.Relay{Required: required, Kinds: kinds}
	}
	for name, tt := range map[string]struct {
		relay []config.Relay
		want  bool
	}{
		"none":           {nil, false},
		"all kinds":      {[]config.Relay{to(nil)}, true},
		"others":         {[]config.Relay{to(nil, "Logs", "Inventories")}, false},
		"this one":       {[]config.Relay{to(nil, "Logs"), to(nil, "Inventories", "events")}, true},
		"not required":   {[]config.Relay{to(&optional)}, false},
		"the other does": {[]config.Relay{to(&optional, "Events"), to(nil)}, true},
	} {
		if got := (&config.Config{Relay: tt.relay}).Takes("Events"); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
