package revision

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"inventorybeacon/policy"
)

// maxCached bounds how many different policies are kept, each for all devices
// that are told the same. More than this are made anew now and then.
const maxCached = 4096

// A Snapshot is one revision in force: immutable, safe for any number of
// readers. What it hands out stays usable after the next publication.
type Snapshot struct {
	gen      *generation
	contents map[string]*Content
	plain    map[string]*Object
	retired  map[string]retired
	// Ready-made policies, newest first: by device, and by domain and device.
	cached, merged map[string][]readyPolicy

	// policies is replaced, never changed: reading it takes no lock.
	policies atomic.Pointer[map[string]*Object]
	mu       sync.Mutex // to replace policies, and for late
	late     map[string]*Object
}

// A retired object is one that is in no policy any more.
type retired struct {
	*Object
	until time.Time
}

type readyPolicy struct {
	bundle int // its index in the set
	mtime  time.Time
	*Object
}

func newSnapshot(m *manifest, l *loader) (*Snapshot, error) {
	gen, err := newGeneration(m, l)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{
		gen: gen, plain: map[string]*Object{}, retired: map[string]retired{}, late: map[string]*Object{},
		cached: map[string][]readyPolicy{}, merged: map[string][]readyPolicy{},
	}
	s.policies.Store(&map[string]*Object{})
	for _, p := range m.Paths {
		c, err := l.load(p.Digest, p.Size)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Path, err)
		}
		s.plain[fold(p.Path)] = &Object{
			Content: c, Modified: p.Modified, ContentType: contentType(p.Path), Private: strings.HasPrefix(p.Path, "Policies/"),
		}
	}
	for i, b := range m.Bundles {
		for _, f := range b.Files {
			s.addReady(i, f, l.held[f.Digest])
		}
	}
	for _, by := range []map[string][]readyPolicy{s.cached, s.merged} {
		for _, ready := range by {
			slices.SortStableFunc(ready, func(a, b readyPolicy) int { return b.mtime.Compare(a.mtime) })
		}
	}
	s.contents = l.held
	return s, nil
}

func (s *Snapshot) addReady(bundle int, f policy.File, c *Content) {
	ready := readyPolicy{bundle, f.MTime, s.private(c, false, contentType(f.Path))}
	if device, _ := policy.CachedPolicy(f.Path); device != "" {
		s.cached[fold(device)] = append(s.cached[fold(device)], ready)
	}
	if domain, device, ok := policy.PolicyPath(f.Path); ok {
		key := fold(domain + "\n" + device)
		s.merged[key] = append(s.merged[key], ready)
	}
}

func (s *Snapshot) private(c *Content, byAddress bool, contentType string) *Object {
	return &Object{Content: c, Modified: s.gen.Revision.Created, ContentType: contentType, Private: true, ByAddress: byAddress}
}

// Revision says which one it is.
func (s *Snapshot) Revision() policy.Revision { return s.gen.Revision }

// Bundles returns the bundles in force by name.
func (s *Snapshot) Bundles() []policy.Bundle { return slices.Clone(s.gen.Bundles) }

// Effective says what applies to a device and which bundles say so, or
// policy.ErrNone. For an old agent it is still everything; what of it old
// agents are told is in their documents.
func (s *Snapshot) Effective(q policy.Query) (policy.Effective, error) {
	k := s.gen.set.AppendKey(nil, q)
	if k.None() {
		return policy.Effective{}, policy.ErrNone
	}
	return s.gen.set.Effective(k), nil
}

// Policy returns the .npl of a device, or policy.ErrNone. For a device that is
// told the same as an earlier one it allocates nothing.
func (s *Snapshot) Policy(q policy.Query) (*Object, error) {
	var buf [80]byte
	k := s.gen.set.AppendKey(buf[:0], q)
	if k.None() {
		return nil, policy.ErrNone
	}
	kind := byte('o')
	if !q.Ours {
		kind = 'c'
		if o := s.ready(k, q); o != nil {
			return o, nil
		}
	}
	id := append(k, kind)
	if o := (*s.policies.Load())[string(id)]; o != nil {
		return o, nil
	}
	return s.make(slices.Clone(k), string(id), q.Ours)
}

// ready returns the ready-made policy of a device. Our own agent is given none:
// what they list carries no SHA-256, and it takes nothing without.
func (s *Snapshot) ready(k policy.Key, q policy.Query) *Object {
	if len(s.cached) == 0 && len(s.merged) == 0 {
		return nil
	}
	var buf [160]byte
	key := policy.Fold(buf[:0], q.Domain)
	key = append(key, '\n')
	at := len(key)
	key = policy.Fold(key, q.Device)
	for _, candidates := range [][]readyPolicy{s.merged[string(key)], s.cached[string(key[at:])]} {
		for _, c := range candidates {
			if k.Rank(c.bundle) != policy.NoMatch {
				return c.forDevice(k)
			}
		}
	}
	return nil
}

func (r readyPolicy) forDevice(k policy.Key) *Object {
	if !k.ByAddress() {
		return r.Object
	}
	o := *r.Object
	o.ByAddress = true
	return &o
}

// make generates the policy of k and remembers it under id. Two that come at
// once may both make it: they make the same.
func (s *Snapshot) make(k policy.Key, id string, ours bool) (*Object, error) {
	text, made, err := s.gen.policy(k, ours)
	if err != nil {
		return nil, fmt.Errorf("make policy: %w", err)
	}
	o := s.private(newContent(text), k.ByAddress(), contentType(".npl"))
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.policies.Load()
	if len(old) >= maxCached {
		old = nil
	}
	next := maps.Clone(old)
	if next == nil {
		next = map[string]*Object{}
	}
	next[id] = o
	if !s.gen.whole {
		s.keepLate(made)
	}
	// What the policy lists is there before anyone sees the policy.
	s.policies.Store(&next)
	return o, nil
}

// keepLate remembers packages that were not made beforehand.
func (s *Snapshot) keepLate(made []*pack) {
	if len(s.late) > 4*maxCached {
		clear(s.late)
	}
	for _, p := range made {
		for name, o := range p.objects() {
			s.late[fold(name)] = o
		}
	}
}

// File returns what is published at path, or policy.ErrNoFile. The path is
// below the download root, decoded once, without a leading slash; its case
// does not count. It is only ever looked up: no part of it reaches the disk.
func (s *Snapshot) File(path string) (*Object, error) {
	name := strings.ToLower(path)
	o := cmp.Or(s.plain[name], s.gen.immutable[name], s.retired[name].Object)
	if o == nil && !s.gen.whole {
		s.mu.Lock()
		o = s.late[name]
		s.mu.Unlock()
	}
	if o == nil {
		return nil, policy.ErrNoFile
	}
	return o, nil
}
