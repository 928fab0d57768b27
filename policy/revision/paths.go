package revision

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"inventorybeacon/policy"
)

// plainPaths says what stands under plain names: ready-made files, of each path
// the one of the bundle with the lower priority, and the schedule of what
// applies to every device. Settings and failover have plain names only where
// they are ready-made: a name that old agents know offers no format of ours.
// It also returns the bodies that are in no bundle, and what one may not expect.
func plainPaths(m *manifest, before []namedObject) (bodies [][]byte, warnings []string, err error) {
	known := map[string]namedObject{}
	for _, o := range before {
		known[fold(o.Path)] = o
	}
	paths := map[string]namedObject{}
	put := func(o namedObject) {
		if old, ok := known[fold(o.Path)]; ok && old.Digest == o.Digest {
			o.Modified = old.Modified
		} else {
			o.Modified = m.Revision.Created
		}
		paths[fold(o.Path)] = o
	}
	owner := map[string]string{}
	for _, b := range byPriority(m.Bundles) {
		for _, f := range b.Files {
			if first := owner[fold(f.Path)]; first != "" {
				warnings = append(warnings, fmt.Sprintf("%s of bundle %s is hidden by that of bundle %s", f.Path, b.Name, first))
				continue
			}
			owner[fold(f.Path)] = b.Name
			put(namedObject{Path: f.Path, Digest: f.Digest, Size: f.Size})
		}
	}
	set := policy.NewSet(m.Bundles)
	p, err := schedulePack(set, everyoneKey(set), false)
	if err != nil {
		return nil, nil, err
	}
	if p != nil && owner[fold(p.path+".osd")] == "" && owner[fold(p.path+".nds")] == "" {
		for ext, c := range map[string]*Content{".osd": p.osd, ".nds": p.nds} {
			put(namedObject{Path: p.path + ext, Digest: hex.EncodeToString(c.Digest[:]), Size: c.Size})
			bodies = append(bodies, c.Body)
		}
	}
	m.Paths = nil
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		m.Paths = append(m.Paths, paths[name])
	}
	return bodies, warnings, nil
}

// everyoneKey is the key of a device of which nothing is known.
func everyoneKey(s *policy.Set) policy.Key {
	k := s.AppendKey(nil, policy.Query{})
	for i := range k {
		if k.Rank(i) != policy.Everyone {
			k[i] = byte(policy.NoMatch)
		}
	}
	return k
}

func byPriority(bundles []policy.Bundle) []policy.Bundle {
	sorted := slices.Clone(bundles) // by name
	slices.SortStableFunc(sorted, func(a, b policy.Bundle) int { return a.Priority - b.Priority })
	return sorted
}

// sinceNow sets when the parts of b became what they are: what was so before
// keeps its time.
func sinceNow(b *policy.Bundle, old policy.Bundle, now time.Time) {
	b.Since, b.Parts = now, policy.PartTimes{}
	if len(b.Schedule) > 0 {
		b.Parts.Schedule = keep(old.Parts.Schedule, equal(b.Schedule, old.Schedule), now)
	}
	if len(b.Settings) > 0 {
		b.Parts.Settings = keep(old.Parts.Settings, equal(b.Settings, old.Settings), now)
	}
	if b.Failover != nil {
		b.Parts.Failover = keep(old.Parts.Failover, equal(b.Failover, old.Failover), now)
	}
	known := map[string]policy.File{}
	for _, f := range old.Files {
		known[f.Path] = f
	}
	for i, f := range b.Files {
		b.Files[i].Since = keep(known[f.Path].Since, known[f.Path].Digest == f.Digest, now)
	}
}

func keep(before time.Time, same bool, now time.Time) time.Time {
	if same {
		return before
	}
	return now
}

// equal compares what the two are in a manifest.
func equal(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}
