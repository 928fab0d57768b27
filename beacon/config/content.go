package config

import (
	"strings"
	"time"

	"inventorybeacon/uploads/content"
)

// Content is about the check of what uploads hold.
type Content struct {
	// Workers is how many files are checked at a time; 0 means half the processors.
	// More let files go on sooner after a burst; fewer leave more of the machine to
	// uploads.
	Workers int `yaml:"workers"`
	// Budget is how long the check of one file may take before the file is flagged
	// and goes on unchecked. A longer one lets a slow machine do; a shorter one keeps
	// a device's next file waiting for less.
	Budget time.Duration `yaml:"budget"`
}

// Quarantine bounds what is kept of refused files; 0 means no bound. More gives
// people more time to decide; less leaves the disk to uploads. The oldest leaves
// first.
type Quarantine struct {
	MaxFiles int           `yaml:"max_files"`
	MaxBytes Bytes         `yaml:"max_bytes"`
	MaxAge   time.Duration `yaml:"max_age"`
}

// ContentRules returns what becomes of bad content, by kind.
func (c *Config) ContentRules() content.Rules {
	rules := content.Rules{}
	for folder, k := range c.Kinds {
		if k.Check != "" {
			rules[strings.ToLower(folder)] = content.Rule(k.Check)
		}
	}
	return rules
}

func (c *Config) checkContent(bad report) {
	if c.Content.Workers < 0 {
		bad("content.workers", "cannot be negative; 0 means half the processors")
	}
	if c.Content.Budget <= 0 {
		bad("content.budget", "must be more than nothing")
	}
	if c.Quarantine.MaxFiles < 0 {
		bad("quarantine.max_files", "cannot be negative; 0 means no bound")
	}
	if c.Quarantine.MaxAge < 0 {
		bad("quarantine.max_age", "cannot be negative; 0 means no bound")
	}
}
