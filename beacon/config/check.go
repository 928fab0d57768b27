package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"inventorybeacon/uploads"
)

// check returns what is wrong with a complete configuration.
func (c *Config) check() Mistakes {
	var ms Mistakes
	bad := func(key, format string, args ...any) {
		ms = append(ms, Mistake{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	if c.Data == "" {
		bad("data", "is empty")
	}
	if _, err := uploads.ParseName(c.Name); c.Name != "" && err != nil {
		bad("name", "%q cannot identify a beacon: %v", c.Name, err)
	}
	c.checkListeners(bad)
	c.checkRoots(bad)
	c.checkRelay(bad)
	c.checkKinds(bad)
	c.checkLimits(bad)
	c.checkChosen(bad)
	c.checkResumable(bad)
	c.checkContent(bad)
	c.checkRetention(bad)
	c.checkFleet(bad)
	oneOf(bad, "unknown_kinds", c.UnknownKinds, "refuse", "accept")
	oneOf(bad, "drop", c.Drop, "publish")
	oneOf(bad, "log.format", c.Log.Format, "", "text", "json")
	oneOf(bad, "log.level", c.Log.Level, "debug", "info", "warn", "error")
	return ms
}

type report func(key, format string, args ...any)

func oneOf(bad report, key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		bad(key, "%q is not one of: %s", value, strings.TrimSpace(strings.Join(allowed, " ")))
	}
}

func (c *Config) checkListeners(bad report) {
	if len(c.Listeners) == 0 {
		bad("listeners", "there is none, so that no agent could connect")
	}
	for i, l := range c.Listeners {
		key := fmt.Sprintf("listeners[%d]", i)
		checkAddress(bad, key+".address", l.Address)
		if l.Access != AccessAnonymous {
			bad(key+".access", "agents cannot enrol with this version: say \"access: anonymous\" to serve whoever can connect to %s", l.Address)
		}
		if l.TLS == nil {
			continue
		}
		oneOf(bad, key+".tls.min_version", l.TLS.MinVersion, "1.3", "1.2")
		if (l.TLS.Certificate == "") != (l.TLS.Key == "") {
			bad(key+".tls", "needs both certificate and key")
		}
	}
	checkAddress(bad, "admin", c.Admin)
	if c.Metrics != "" {
		checkAddress(bad, "metrics", c.Metrics)
	}
}

func checkAddress(bad report, key, addr string) {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		bad(key, "%q is no address; write for example 0.0.0.0:8080", addr)
	}
}

func (c *Config) checkRoots(bad report) {
	for key, root := range map[string]string{"roots.download": c.Roots.Download, "roots.upload": c.Roots.Upload} {
		if root == "" || strings.ContainsFunc(root, notPlain) {
			bad(key, "%q is no single path segment of letters, digits, - and _", root)
		}
	}
	if strings.EqualFold(c.Roots.Download, c.Roots.Upload) {
		bad("roots.upload", "is the same as roots.download")
	}
}

func notPlain(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

func (c *Config) checkRelay(bad report) {
	seen := map[string]bool{}
	for i, r := range c.Relay {
		key := fmt.Sprintf("relay[%d]", i)
		switch {
		case r.Name == "" || strings.ContainsFunc(r.Name, notPlain):
			bad(key+".name", "%q is no name of letters, digits, - and _", r.Name)
		case seen[r.Name]:
			bad(key+".name", "%q is taken by another destination", r.Name)
		}
		seen[r.Name] = true
		c.checkDestination(bad, key, r)
		r.checkPace(bad, key)
		for _, k := range r.Kinds {
			if _, ok := c.UploadKinds().ByFolder(k); !ok && c.UnknownKinds != "accept" {
				bad(key+".kinds", "%q is no kind", k)
			}
		}
	}
}

func (c *Config) checkDestination(bad report, key string, r Relay) {
	n := 0
	if r.Directory != nil {
		n++
		if r.Directory.Path == "" {
			bad(key+".directory.path", "is missing")
		}
		if r.Directory.MaxFiles < 0 {
			bad(key+".directory.max_files", "cannot be negative; 0 means no limit")
		}
	}
	if r.S3 != nil {
		n++
		r.S3.check(bad, key+".s3")
	}
	if r.Beacon != nil {
		n++
		r.Beacon.check(bad, key+".beacon")
	}
	if n != 1 {
		bad(key, "needs exactly one of directory, s3 and beacon")
	}
}

func checkURL(bad report, key, raw string) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		bad(key, "%q is no http or https URL", raw)
	}
}

func (c *Config) checkKinds(bad report) {
	for folder, k := range c.Kinds {
		key := "kinds." + folder
		if _, err := uploads.ParseName(folder); err != nil {
			bad(key, "%v", err)
		}
		for _, ext := range k.Extensions {
			if len(ext) < 2 || ext[0] != '.' || ext != strings.ToLower(ext) || strings.ContainsFunc(ext[1:], notPlain) {
				bad(key+".extensions", "%q is no extension; write it lower case with its dot", ext)
			}
		}
		oneOf(bad, key+".check", k.Check, "", "refuse", "flag", "off")
		if _, known := uploads.DefaultKinds().ByFolder(folder); !known && len(k.Extensions) == 0 {
			bad(key+".extensions", "a new kind needs at least one")
		}
	}
}

func (c *Config) checkLimits(bad report) {
	if c.Limits.InFlight < 1 {
		bad("limits.in_flight", "must be at least 1")
	}
	if c.Limits.Connections < 1 {
		bad("limits.connections", "must be at least 1")
	}
	if c.Limits.Idle <= 0 {
		bad("limits.idle", "must be more than nothing")
	}
	if c.Settle <= 0 {
		bad("settle", "must be more than nothing")
	}
	if c.Spool.Memory < 1<<20 {
		bad("spool.memory_budget", "must be at least 1MiB")
	}
}

// UploadKinds returns the kinds the beacon takes.
func (c *Config) UploadKinds() *uploads.Kinds {
	kinds := uploads.DefaultKinds()
	kinds.AcceptUnknown = c.UnknownKinds == "accept"
	for folder, k := range c.Kinds {
		kind, ok := kinds.ByFolder(folder)
		if !ok {
			kind = uploads.Kind{Folder: folder}
		}
		if len(k.Extensions) > 0 {
			kind.Extensions = k.Extensions
		}
		if k.Max > 0 {
			kind.MaxBytes = int64(k.Max)
		}
		kinds.Set(kind)
	}
	return kinds
}
