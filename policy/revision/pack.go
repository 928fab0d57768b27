package revision

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"time"

	"inventorybeacon/policy"
	"inventorybeacon/policy/wire"
	"inventorybeacon/schedule"
)

// Where the packages that are made from bundles are, without extension. The
// first and the last are names that old agents know.
const (
	schedulePath = "Schedules/Default Machine Schedule"
	settingsPath = "ClientSettings/Default Client Settings/Default Client Settings"
	failoverPath = "ClientSettings/Default Failover Settings/Default Failover Settings"
)

// A pack is one package made from bundles: a catalogue and the body to which
// it points by its immutable name.
type pack struct {
	path     string // plain, without extension
	osd, nds *Content
	modified time.Time
}

func newPack(path, typ string, body []byte, modified time.Time) (*pack, error) {
	p := &pack{path: path, nds: newContent(body), modified: modified}
	md := md5.Sum(body)
	_, name := splitPath(path)
	osd, err := wire.Catalogue{
		Name: name, Type: typ,
		Href: wire.Href(immutableName(path+".nds", p.nds.Digest)), Size: p.nds.Size,
		MD5: hex.EncodeToString(md[:]), SHA256: hex.EncodeToString(p.nds.Digest[:]),
	}.Bytes()
	if err != nil {
		return nil, fmt.Errorf("catalogue of %s: %w", name, err)
	}
	p.osd = newContent(osd)
	return p, nil
}

// catalogue is the immutable name of the catalogue.
func (p *pack) catalogue() string { return immutableName(p.path+".osd", p.osd.Digest) }

// objects are catalogue and body under their immutable names.
func (p *pack) objects() map[string]*Object {
	object := func(c *Content) *Object {
		return &Object{Content: c, Modified: p.modified, ContentType: contentType(".nds"), Immutable: true}
	}
	return map[string]*Object{
		p.catalogue(): object(p.osd),
		immutableName(p.path+".nds", p.nds.Digest): object(p.nds),
	}
}

// A section is one part of bundles that becomes a package.
type section struct {
	// in reports whether a bundle has the part.
	in func(policy.Bundle) bool
	// make merges the part for the devices of one key; nil if nothing of it is left.
	make func(s *policy.Set, k policy.Key, ours bool) (*pack, error)
}

// sections are in the order in which a policy lists them.
var sections = []section{
	{func(b policy.Bundle) bool { return len(b.Schedule) > 0 }, schedulePack},
	{func(b policy.Bundle) bool { return len(b.Settings) > 0 }, settingsPack},
	{func(b policy.Bundle) bool { return b.Failover != nil }, failoverPack},
}

func schedulePack(s *policy.Set, k policy.Key, ours bool) (*pack, error) {
	events := s.Effective(k).Schedule
	if len(events) == 0 {
		return nil, nil
	}
	since := s.Since(k, func(b policy.Bundle) time.Time { return b.Parts.Schedule })
	_, name := splitPath(schedulePath)
	doc := wire.Schedule{Name: name, Created: since, Events: []schedule.Event(events)}
	if !ours {
		if doc, _ = wire.Classic(doc); len(doc.Events) == 0 {
			return nil, nil
		}
	}
	body, err := doc.Bytes()
	if err != nil {
		return nil, fmt.Errorf("schedule: %w", err)
	}
	return newPack(schedulePath, "Schedule", body, since)
}

// settingsPack is for our own agent only: how old agents are told is not public.
func settingsPack(s *policy.Set, k policy.Key, ours bool) (*pack, error) {
	settings := s.Effective(k).Settings
	if !ours || len(settings) == 0 {
		return nil, nil
	}
	body, err := wire.WriteSettings(settings)
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	return newPack(settingsPath, "ClientSettings", body, s.Since(k, func(b policy.Bundle) time.Time { return b.Parts.Settings }))
}

// failoverPack is for our own agent only: how old agents are told is not public.
func failoverPack(s *policy.Set, k policy.Key, ours bool) (*pack, error) {
	list := s.Effective(k).Failover
	if !ours || list == nil {
		return nil, nil
	}
	body, err := wire.WriteFailover(*list)
	if err != nil {
		return nil, fmt.Errorf("failover: %w", err)
	}
	return newPack(failoverPath, "ClientSettings", body, s.Since(k, func(b policy.Bundle) time.Time { return b.Parts.Failover }))
}
