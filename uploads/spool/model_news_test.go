package spool_test

import (
	"errors"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"inventorybeacon/uploads"
)

// held draws one of the files that are held.
func (m *model) held(t *rapid.T) (uploads.Upload, *modelFile) {
	keys := m.s.Held(0, 100, nil)
	if len(keys) == 0 {
		t.Skip()
	}
	seq := rapid.SampledFrom(keys).Draw(t, "file").Seq
	u, ok := m.s.Lookup(seq)
	if !ok {
		t.Fatalf("%d is held and cannot be looked up", seq)
	}
	return u, m.byUpload(u)
}

func (m *model) flag(t *rapid.T) {
	u, f := m.held(t)
	detail := rapid.SampledFrom([]string{"odd", "ugly"}).Draw(t, "detail")
	if err := m.s.Flag(u.Seq, detail); err == nil {
		f.flags[detail] = true
	}
}

// refuse has a destination refuse a file for good.
func (m *model) refuse(t *rapid.T) {
	u, f := m.held(t)
	m.refuseOne(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "sink"), u, f)
}

func (m *model) refuseOne(sink string, u uploads.Upload, f *modelFile) {
	err := m.s.Refuse(sink, u.Seq, "a test")
	switch {
	case err != nil:
		f.maybe[sink], f.maybeOut = true, true
	case !f.got[sink]:
		f.refused[sink] = true
		f.maybeOut = f.maybeOut || f.maybe["a"] || f.maybe["b"]
		f.settle()
	}
}

// learn hears of somebody who has a file, wherever it is in its life.
func (m *model) learn(t *rapid.T) {
	ids := slices.Sorted(maps.Keys(m.files))
	if len(ids) == 0 {
		t.Skip()
	}
	m.learnOf(m.files[rapid.SampledFrom(ids).Draw(t, "id")], rapid.SampledFrom([]string{"x", "y"}).Draw(t, "who"))
}

func (m *model) learnOf(f *modelFile, who string) {
	n, _ := uploads.ParseName(f.name)
	err := m.s.Learn(kind, n, uploads.DigestOf(f.body), []uploads.Custody{{Level: uploads.LevelStore, Beacon: who}})
	switch {
	case f.maybeOut, m.forgot(f):
	case errors.Is(err, uploads.ErrUnknown) != f.lost:
		m.t.Fatalf("%s: learn: %v, lost %v", f.name, err, f.lost)
	case err == nil:
		f.got[who] = true
	case !f.lost:
		f.maybe[who] = true
	}
}

// supersede has a newer file take the place of one.
func (m *model) supersede(t *rapid.T) {
	u, f := m.held(t)
	if err := m.s.Supersede(u.Seq, "a test"); err != nil {
		f.maybeOut = true
	} else {
		f.out = true
	}
}

// prune forgets, sooner or later, all receipts that are in the archive or come
// there in this run.
func (m *model) prune(t *rapid.T) {
	if !m.prunes {
		t.Skip()
	}
	m.pruned = true
	if err := m.s.Prune(time.Now().Add(48 * time.Hour)); err != nil {
		t.Fatal(err)
	}
}

// forgot says whether the receipt of a file may have been forgotten.
func (m *model) forgot(f *modelFile) bool { return m.pruned && f.left() }
