package config

import (
	"strings"
	"time"

	"inventorybeacon/uploads/fleet"
)

// Fleet is about what a beacon tells those above it of itself and its devices.
type Fleet struct {
	// Every is how often; 0 is never. More often tells the centre sooner of what
	// changed; less often makes fewer files.
	Every time.Duration `yaml:"every"`
}

func defaultFleet() Fleet { return Fleet{Every: 5 * time.Minute} }

func (c *Config) checkFleet(bad report) {
	if e := c.Fleet.Every; e != 0 && (e < time.Second || e > 24*time.Hour) {
		bad("fleet.every", "must be from 1s to 24h, or 0 for never")
	}
}

// Reports returns how often fleet status is reported: never if no required
// destination takes it.
func (c *Config) Reports() time.Duration {
	for _, r := range c.Relay {
		taken := len(r.Kinds) == 0
		for _, k := range r.Kinds {
			taken = taken || strings.EqualFold(k, fleet.Kind)
		}
		if taken && r.IsRequired() {
			return c.Fleet.Every
		}
	}
	return 0
}
