//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"inventorybeacon/uploads/catalogue"
	"inventorybeacon/uploads/spool"
)

// examineCatalogue compares the index that survived with one made anew: what
// it says must be what the journal says up to the same position, and after
// catching up both must say the same.
func examineCatalogue(q *question, a *answer, s *spool.Spool) {
	ctx := context.Background()
	file := filepath.Join(q.Data, "catalog.db")
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return // cut before there was one: it is made at the next start
	}
	survived, err := openCatalogue(ctx, file)
	if err != nil {
		a.fault("the catalogue does not open: %v", err)
		return
	}
	defer survived.Close()
	if _, err := os.Stat(file + ".damaged"); err == nil {
		a.fault("the catalogue is damaged")
	}
	if why := differs(ctx, survived, upTo{s, survived.Position()}, q.Data); why != nil {
		a.fault("the catalogue as it survived, at %d: %v", survived.Position(), why)
	}
	if err := survived.CatchUp(ctx, s); err != nil {
		a.fault("the catalogue does not catch up: %v", err)
	}
	if why := differs(ctx, survived, s, q.Data); why != nil {
		a.fault("the catalogue after catching up: %v", why)
	}
}

func openCatalogue(ctx context.Context, file string) (*catalogue.Catalogue, error) {
	return catalogue.Open(ctx, file, catalogue.Options{Sinks: []catalogue.Sink{{Name: sinkName, Required: true}}})
}

// upTo is a journal as it was when a catalogue read it last.
type upTo struct {
	catalogue.Source
	seq uint64
}

func (u upTo) Events(after uint64) iter.Seq2[catalogue.Event, error] {
	return func(yield func(catalogue.Event, error) bool) {
		for e, err := range u.Source.Events(after) {
			if e.Seq > u.seq || !yield(e, err) {
				return
			}
		}
	}
}

// differs compares a catalogue with one made anew, somewhere below dir, from the
// journal.
func differs(ctx context.Context, c *catalogue.Catalogue, journal catalogue.Source, dir string) error {
	dir, err := os.MkdirTemp(dir, "catalogue-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fresh, err := openCatalogue(ctx, filepath.Join(dir, "catalog.db"))
	if err != nil {
		return err
	}
	defer fresh.Close()
	if err := fresh.CatchUp(ctx, journal); err != nil {
		return err
	}
	got, err := listed(ctx, c)
	if err != nil {
		return err
	}
	want, err := listed(ctx, fresh)
	if err != nil {
		return err
	}
	for i := range min(len(got.uploads), len(want.uploads)) {
		if g, w := got.uploads[i], want.uploads[i]; !reflect.DeepEqual(g, w) {
			return fmt.Errorf("it says\n%+v\nof what the journal says\n%+v", g, w)
		}
	}
	if len(got.uploads) != len(want.uploads) || !reflect.DeepEqual(got.losses, want.losses) {
		return fmt.Errorf("it has %d uploads and %d losses; the journal %d and %d", len(got.uploads), len(got.losses), len(want.uploads), len(want.losses))
	}
	return nil
}

// A listing is what a catalogue says.
type listing struct {
	uploads []catalogue.Upload
	losses  []catalogue.Loss
}

func listed(ctx context.Context, c *catalogue.Catalogue) (l listing, err error) {
	if l.uploads, err = c.Uploads(ctx, catalogue.UploadFilter{Limit: catalogue.MaxLimit}); err != nil {
		return l, err
	}
	slices.SortFunc(l.uploads, func(a, b catalogue.Upload) int { return cmp.Compare(a.Seq, b.Seq) })
	l.losses, err = c.Losses(ctx, catalogue.LossFilter{Limit: catalogue.MaxLimit})
	return l, err
}
