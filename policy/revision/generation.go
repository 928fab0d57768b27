package revision

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"inventorybeacon/policy"
	"inventorybeacon/policy/wire"
)

// maxKeys bounds, for each section, how many different packages are made
// beforehand. All that are made so have the same names on every beacon, and
// after a restart. What is above is made when a device asks for its policy; a
// device that asks another beacon for the rest has to begin again.
const maxKeys = 1024

// A generation is one manifest made ready: everything that devices may fetch
// under immutable names.
type generation struct {
	*manifest
	set       *policy.Set
	immutable map[string]*Object // by folded path
	whole     bool               // nothing is left to be made later
}

func newGeneration(m *manifest, l *loader) (*generation, error) {
	g := &generation{manifest: m, set: policy.NewSet(m.Bundles), immutable: map[string]*Object{}, whole: true}
	for _, s := range sections {
		if err := g.compile(s); err != nil {
			return nil, err
		}
	}
	for _, b := range m.Bundles {
		for _, f := range b.Files {
			c, err := l.load(f.Digest, f.Size)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Path, err)
			}
			if strings.HasPrefix(f.Path, "Policies/") {
				continue // of one device, and listed by nothing
			}
			g.immutable[fold(immutableName(f.Path, c.Digest))] = &Object{
				Content: c, Modified: f.Since, ContentType: contentType(f.Path), Immutable: true,
			}
		}
	}
	return g, nil
}

// compile makes the packages of one section for every key there can be.
func (g *generation) compile(s section) (err error) {
	part := g.set.Part(s.in)
	done := map[string]bool{}
	all := part.Keys(maxKeys, func(k policy.Key) {
		names := order(part, k)
		if done[names] || err != nil {
			return
		}
		done[names] = true
		for _, ours := range []bool{false, true} {
			var p *pack
			if p, err = s.make(part, k, ours); err != nil {
				return
			}
			if p != nil {
				g.add(p.objects())
			}
		}
	})
	g.whole = g.whole && all
	return err
}

// order is what the merge of k depends on: which bundles, the winner first.
func order(s *policy.Set, k policy.Key) string {
	var names []string
	for _, b := range s.Matching(k) {
		names = append(names, b.Name)
	}
	return strings.Join(names, "\n")
}

func (g *generation) add(objects map[string]*Object) {
	for name, o := range objects {
		g.immutable[fold(name)] = o
	}
}

func fold(path string) string { return string(policy.Fold(nil, path)) }

func splitPath(p string) (dir, name string) {
	dir, name = path.Split(p)
	return strings.TrimSuffix(dir, "/"), name
}

// policy makes the policy of the devices of k, and the packages it lists that
// are made from bundles.
func (g *generation) policy(k policy.Key, ours bool) (text []byte, made []*pack, err error) {
	packs := make([]*pack, len(sections))
	for i, s := range sections {
		if packs[i], err = s.make(g.set, k, ours); err != nil {
			return nil, nil, err
		}
	}
	var ready map[string][]policy.File
	if !ours {
		ready = g.readyMade(k)
		if g.generatedScheduleWins(k) {
			delete(ready, "Schedules")
		} else {
			packs[0] = nil
		}
	}
	doc := wire.Policy{}
	list := func(p *pack, files []policy.File) {
		if p != nil {
			made = append(made, p)
			doc.Packages = append(doc.Packages, entry(p.path+".osd", p.osd.Digest, ours))
		}
		for _, f := range files {
			d, _ := parseDigest(f.Digest) // the generation was loaded by it
			doc.Packages = append(doc.Packages, entry(f.Path, d, ours))
		}
	}
	list(packs[0], ready["Schedules"])
	list(nil, ready["ClientConfiguration"])
	list(nil, ready["InventorySettingsConfiguration"])
	list(packs[1], ready["ClientSettings"])
	list(packs[2], nil)
	doc.GUID = guid(doc.Packages)
	if ours {
		doc.Revision = g.Revision
	}
	text, err = doc.Bytes()
	return text, made, err
}

// entry lists a catalogue by its immutable name. In a ready-made one the path
// of its body stands as it is; that is not ours to change.
func entry(p string, digest [sha256.Size]byte, ours bool) wire.Package {
	k := wire.Package{
		Href:     wire.Href(immutableName(p, digest)),
		ObjectID: wire.GUID("package", strings.TrimSuffix(p, path.Ext(p))),
	}
	if ours {
		k.SHA256 = hex.EncodeToString(digest[:])
	}
	return k
}

// guid changes with what the policy lists.
func guid(packages []wire.Package) string {
	words := []string{"policy"}
	for _, p := range packages {
		words = append(words, p.Href)
	}
	return wire.GUID(words...)
}

// readyMade returns the ready-made catalogues that the policy of an old agent
// lists, by folder: of each path the one of the bundle that wins. Packages are
// not among them: which device is to be upgraded to what is not in the files.
func (g *generation) readyMade(k policy.Key) map[string][]policy.File {
	all := map[string][]policy.File{}
	taken := map[string]bool{}
	for _, b := range g.set.Matching(k) {
		for _, f := range b.Files {
			top, _, _ := strings.Cut(f.Path, "/")
			listed := top != "Packages" && top != "Policies"
			if !strings.EqualFold(path.Ext(f.Path), ".osd") || !listed || taken[fold(f.Path)] {
				continue
			}
			taken[fold(f.Path)] = true
			all[top] = append(all[top], f)
		}
	}
	if def := slices.IndexFunc(all["Schedules"], func(f policy.File) bool { return strings.EqualFold(path.Base(f.Path), path.Base(schedulePath)+".osd") }); def >= 0 {
		all["Schedules"] = all["Schedules"][def : def+1] // a machine has one schedule
	}
	return all
}

// generatedScheduleWins reports whether an old agent is given the schedule made
// from bundles rather than a ready-made one: what the first bundle brings that
// brings either. A bundle with both means the ready-made one for old agents.
func (g *generation) generatedScheduleWins(k policy.Key) bool {
	for _, b := range g.set.Matching(k) {
		if hasReadyMadeSchedule(b) {
			return false
		}
		if classic, _ := wire.Classic(wire.Schedule{Events: b.Schedule}); len(classic.Events) > 0 {
			return true
		}
	}
	return true
}

func hasReadyMadeSchedule(b policy.Bundle) bool {
	return slices.ContainsFunc(b.Files, func(f policy.File) bool {
		return strings.HasPrefix(f.Path, "Schedules/") && strings.EqualFold(path.Ext(f.Path), ".osd")
	})
}
