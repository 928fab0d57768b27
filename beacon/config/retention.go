package config

import (
	"strings"
	"time"

	"inventorybeacon/uploads/spool"
)

// Kept is about the copies of the newest files of each device that stay after
// their delivery.
type Kept struct {
	// PerDevice is how many of each kind; 0 keeps none.
	PerDevice int `yaml:"per_device"`
	// Kinds are whose files are kept, by folder.
	Kinds []string `yaml:"kinds"`
	// MaxBytes bounds the disk they take; 0 is no bound.
	MaxBytes Bytes `yaml:"max_bytes"`
	// MaxAge is how long after it arrived a file is kept; 0 is for ever.
	MaxAge time.Duration `yaml:"max_age"`
}

// Retention is how long is remembered what arrived. Longer costs disk: about 1 KiB
// an upload that is listed and 200 bytes a receipt.
type Retention struct {
	// Receipts is how long a file that left is known: a repeat of it is told as
	// such.
	Receipts time.Duration `yaml:"receipts"`
	// Uploads is how long uploads and losses are listed; 0 is as long as receipts are
	// kept.
	Uploads time.Duration `yaml:"uploads"`
	// MaxUploads bounds the uploads that are listed; 0 is no bound.
	MaxUploads int64 `yaml:"max_uploads"`
	// Kinds are shorter times for uploads of some kinds, by folder.
	Kinds map[string]time.Duration `yaml:"kinds"`
}

// outboxAge is how long our agents keep a file that they could not send, whatever
// their policy says. Receipts must not be forgotten before.
const outboxAge = 30 * 24 * time.Hour

func defaultKept() Kept {
	return Kept{PerDevice: 2, Kinds: []string{"Inventories"}, MaxBytes: 2 << 30, MaxAge: 90 * 24 * time.Hour}
}

func defaultRetention() Retention {
	return Retention{Receipts: spool.DefaultHorizon}
}

func (c *Config) checkRetention(bad report) {
	if c.Kept.PerDevice < 0 {
		bad("kept.per_device", "cannot be negative; 0 keeps none")
	}
	if c.Kept.MaxAge < 0 {
		bad("kept.max_age", "cannot be negative; 0 is for ever")
	}
	for _, folder := range c.Kept.Kinds {
		c.checkFolder(bad, "kept.kinds", folder)
	}
	r := c.Retention
	if r.Receipts < outboxAge {
		bad("retention.receipts", "must be at least %v: so long an agent keeps what it could not send, and a file that was delivered would be stored again", outboxAge)
	}
	if r.Uploads < 0 || r.Uploads > r.Receipts {
		bad("retention.uploads", "must not be above retention.receipts, from which the list is restored")
	}
	if r.MaxUploads < 0 {
		bad("retention.max_uploads", "cannot be negative; 0 is no bound")
	}
	for folder, age := range r.Kinds {
		c.checkFolder(bad, "retention.kinds", folder)
		if age <= 0 || age > r.Listed() {
			bad("retention.kinds."+folder, "must be more than nothing and not above retention.uploads, which all others have")
		}
	}
}

// Listed is how long uploads are listed whose kind has no time of its own.
func (r Retention) Listed() time.Duration {
	if r.Uploads == 0 {
		return r.Receipts
	}
	return r.Uploads
}

func (c *Config) checkFolder(bad report, key, folder string) {
	if _, ok := c.UploadKinds().ByFolder(folder); !ok && c.UnknownKinds != "accept" {
		bad(key, "%q is no kind", folder)
	}
}

// Keeps returns how many files of a kind are kept of each device.
func (c *Config) Keeps(kind string) int {
	for _, folder := range c.Kept.Kinds {
		if strings.EqualFold(folder, kind) {
			return c.Kept.PerDevice
		}
	}
	return 0
}
