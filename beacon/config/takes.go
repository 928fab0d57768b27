package config

import "strings"

// Takes reports whether a required destination takes files of a kind. Of another
// kind, this beacon should make none: they would wait for ever.
func (c *Config) Takes(kind string) bool {
	for _, r := range c.Relay {
		if r.IsRequired() && r.takes(kind) {
			return true
		}
	}
	return false
}

func (r Relay) takes(kind string) bool {
	for _, k := range r.Kinds {
		if strings.EqualFold(k, kind) {
			return true
		}
	}
	return len(r.Kinds) == 0
}
