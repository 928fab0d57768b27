package revision

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"inventorybeacon/policy"
	"inventorybeacon/policy/bundle"
)

// maxBundles bounds a revision: every poll of a device is matched with each.
const maxBundles = 1000

// Publish replaces the bundle of b's name. When it returns without an error
// the result is durable and in force.
func (s *Store) Publish(ctx context.Context, b *bundle.Bundle, by, comment string) (Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Current().gen.manifest
	i := slices.IndexFunc(now.Bundles, func(o policy.Bundle) bool { return strings.EqualFold(o.Name, b.Name) })
	warnings := slices.Concat(b.Warnings, b.Missing)
	if i >= 0 && s.damage == nil && sameBundle(now.Bundles[i], b.Bundle) {
		return Result{Revision: now.Revision, Warnings: warnings}, s.mayPublish()
	}
	if err := s.mayPublish(); err != nil {
		return Result{}, err
	}
	for _, f := range b.Files {
		if err := s.take(ctx, b, f); err != nil {
			return Result{}, fmt.Errorf("publish %s: %s: %w", b.Name, f.Path, err)
		}
	}
	next := b.Bundle
	next.Files = slices.Clone(b.Files)
	old := policy.Bundle{}
	bundles := slices.Clone(now.Bundles)
	if i >= 0 {
		old = bundles[i]
		bundles = slices.Delete(bundles, i, i+1)
	}
	if len(bundles) >= maxBundles {
		return Result{}, fmt.Errorf("publish %s: %d bundles are in force, and no more are taken: withdraw some", b.Name, maxBundles)
	}
	revision := s.nextRevision(by, comment)
	sinceNow(&next, old, revision.Created)
	res, err := s.put(&manifest{Version: version, Revision: revision, Bundles: append(bundles, next)})
	if err != nil {
		return Result{}, fmt.Errorf("publish %s: %w", b.Name, err)
	}
	res.Warnings = append(warnings, res.Warnings...)
	return res, nil
}

// Withdraw removes the bundle of that name, or returns policy.ErrNoBundle.
func (s *Store) Withdraw(ctx context.Context, name, by, comment string) (Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(ctx.Err(), s.mayPublish()); err != nil {
		return Result{}, err
	}
	bundles := slices.DeleteFunc(s.Current().Bundles(), func(b policy.Bundle) bool { return strings.EqualFold(b.Name, name) })
	if len(bundles) == len(s.Current().gen.Bundles) {
		return Result{}, fmt.Errorf("withdraw %s: %w", name, policy.ErrNoBundle)
	}
	res, err := s.put(&manifest{Version: version, Revision: s.nextRevision(by, comment), Bundles: bundles})
	if err != nil {
		return Result{}, fmt.Errorf("withdraw %s: %w", name, err)
	}
	return res, nil
}

func (s *Store) mayPublish() error {
	if publisher := s.Mirrors(); publisher != "" {
		return fmt.Errorf("%w, %s: publish there", policy.ErrMirror, publisher)
	}
	return nil
}

// take copies a file of a bundle into the store.
func (s *Store) take(ctx context.Context, b *bundle.Bundle, f policy.File) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	from, err := b.OpenFile(f)
	if err != nil {
		return err
	}
	defer from.Close()
	return putObject(s.root, f.Digest, from)
}

// nextRevision is one above every number that was ever given, also to what
// never came into force. Its time is whole seconds, because Last-Modified is,
// and after that of every revision before.
func (s *Store) nextRevision(by, comment string) policy.Revision {
	last := s.Current().Revision()
	if s.highest.After(last) {
		last.Epoch, last.Number = s.highest.Epoch, s.highest.Number
	}
	created := s.now().UTC().Truncate(time.Second)
	if earliest := last.Created.Add(time.Second); created.Before(earliest) {
		created = earliest
	}
	return policy.Revision{
		Publisher: s.publisher, Epoch: max(last.Epoch, 1), Number: last.Number + 1,
		Created: created, By: by, Comment: comment,
	}
}

// put completes m and puts it in force.
func (s *Store) put(m *manifest) (Result, error) {
	slices.SortFunc(m.Bundles, func(a, b policy.Bundle) int { return strings.Compare(a.Name, b.Name) })
	bodies, warnings, err := plainPaths(m, s.Current().gen.Paths)
	if err != nil {
		return Result{}, err
	}
	for _, b := range bodies {
		if err := putObject(s.root, hex.EncodeToString(newContent(b).Digest[:]), bytes.NewReader(b)); err != nil {
			return Result{}, err
		}
	}
	if err := s.enforce(m); err != nil {
		return Result{}, err
	}
	if !s.Current().gen.whole {
		warnings = append(warnings, fmt.Sprintf("bundles overlap in more than %d ways: a device that changes to another beacon while it takes its policy has to begin again", maxKeys))
	}
	return Result{Revision: m.Revision, Changed: true, Warnings: warnings}, nil
}

// enforce makes m, whose objects are there, durable and then the revision in
// force. Everything that can fail does so before the pointer is switched.
func (s *Store) enforce(m *manifest) error {
	before := s.Current()
	snap, err := newSnapshot(m, newLoader(s.root, before.contents))
	if err != nil {
		return err
	}
	s.inherit(snap, before)
	if m.Revision.After(s.highest) {
		s.highest = m.Revision
	}
	if err := switchTo(s.root, m); err != nil {
		return err
	}
	s.damage = nil
	s.current.Store(snap)
	s.log.Info("policy is in force", "revision", m.Revision.String(), "publisher", m.Revision.Publisher, "bundles", len(m.Bundles))
	return nil
}

// inherit makes snap serve what before served under immutable names.
func (s *Store) inherit(snap, before *Snapshot) {
	now := s.now()
	for name, r := range before.retired {
		if r.until.After(now) {
			snap.retire(map[string]*Object{name: r.Object}, r.until)
		}
	}
	before.mu.Lock()
	late := maps.Clone(before.late)
	before.mu.Unlock()
	for _, objects := range []map[string]*Object{late, before.gen.immutable} {
		snap.retire(s.outOfMemory(objects), now.Add(keepRetired))
	}
}

// outOfMemory leaves the bytes of files to the disk: nobody asks for most of
// what is retired. What was made from bundles is small and on no disk.
func (s *Store) outOfMemory(objects map[string]*Object) map[string]*Object {
	files := map[string]bool{}
	for _, b := range s.Current().gen.Bundles {
		for _, f := range b.Files {
			files[f.Digest] = true
		}
	}
	lean := maps.Clone(objects)
	for name, o := range lean {
		digest := hex.EncodeToString(o.Digest[:])
		if !files[digest] || o.Body == nil {
			continue
		}
		if c, err := onDisk(s.root, digest, o.Size); err == nil {
			copied := *o
			copied.Content = c
			lean[name] = &copied
		}
	}
	return lean
}

// sameBundle reports whether b says what a says, whenever it was written.
func sameBundle(a, b policy.Bundle) bool {
	timeless := func(b policy.Bundle) policy.Bundle {
		b.Since, b.Parts = time.Time{}, policy.PartTimes{}
		b.Files = slices.Clone(b.Files)
		for i := range b.Files {
			b.Files[i].MTime, b.Files[i].Since = time.Time{}, time.Time{}
		}
		return b
	}
	return equal(timeless(a), timeless(b))
}
