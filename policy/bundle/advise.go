package bundle

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"inventorybeacon/policy"
	"inventorybeacon/policy/wire"
)

// advise adds the warnings that concern the bundle as a whole, and finds what
// may be missing from it.
func (b *Bundle) advise() {
	for _, kind := range []struct {
		name  string
		given []string
	}{{"group", b.AppliesTo.Groups}, {"tag", b.AppliesTo.Tags}} {
		if len(kind.given) > 0 {
			b.warn("applies_to: no %s is defined yet, so %s matches no device and the bundle applies to none", kind.name, strings.Join(kind.given, ", "))
		}
	}
	b.adviseSchedule()
	if len(b.Settings) > 0 {
		b.warn("settings are for our own agent only: how old agents are told is not public")
	}
	if _, err := b.Settings.ForgetAt(); err != nil {
		b.warn("%v", err)
	}
	if b.Failover != nil {
		b.warn("failover is for our own agent only: how old agents are told is not public")
	}
	for _, f := range b.Files {
		b.adviseFile(f)
	}
}

func (b *Bundle) warn(format string, args ...any) {
	b.Warnings = append(b.Warnings, fmt.Sprintf(format, args...))
}

func (b *Bundle) adviseSchedule() {
	if len(b.Schedule) == 0 {
		return
	}
	classic, left := wire.Classic(wire.Schedule{Events: b.Schedule})
	b.Warnings = append(b.Warnings, left...)
	if len(classic.Events) == 0 {
		b.warn("schedule: old agents are given none of it, because no event is left that they are known to understand")
	}
}

func (b *Bundle) adviseFile(f policy.File) {
	if _, ambiguous := policy.CachedPolicy(f.Path); ambiguous {
		b.warn("%s: which device it is for cannot be told, because several hyphens and no GUID are in its name; it is served under its own path only", f.Path)
	}
	switch {
	case strings.HasPrefix(f.Path, "Packages/") && ext(f.Path) == ".osd":
		b.warn("%s is served, but no generated policy lists it: which device is to be upgraded to what is decided by a ready-made policy", f.Path)
	case ext(f.Path) == ".npl":
		b.check(f, func(text []byte) error {
			_, err := wire.ReadPolicy(text)
			return err
		})
	}
	if ext(f.Path) == ".osd" {
		b.check(f, func(text []byte) error {
			c, err := wire.ReadCatalogue(text)
			if err == nil {
				b.lookFor(f, c.Href)
			}
			return err
		})
	}
}

// check warns of a ready-made file that cannot be read; it is served all the same.
func (b *Bundle) check(f policy.File, read func([]byte) error) {
	file, err := b.root.Open(path.Join(b.sub, f.Source))
	if err != nil {
		b.warn("%s: %v", f.Path, err)
		return
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, wire.MaxBytes+1))
	if err == nil {
		err = read(text)
	}
	if err != nil {
		b.warn("%s is served as it is, but: %v", f.Path, err)
	}
}

// lookFor notes that the body of the catalogue f is not in the bundle.
func (b *Bundle) lookFor(f policy.File, href string) {
	if href == "" || strings.Contains(href, "://") {
		return
	}
	body, err := wire.Resolve(f.Path, href)
	if err != nil || slices.ContainsFunc(b.Files, func(g policy.File) bool { return strings.EqualFold(g.Path, body) }) {
		return
	}
	b.Missing = append(b.Missing, fmt.Sprintf("%s names %s, which is not in the bundle", f.Path, body))
}
