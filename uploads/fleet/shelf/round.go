package shelf

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/fleet"
	"inventorybeacon/uploads/objectstore"
)

// A round is one look at the store.
type round struct {
	*Shelf
	now    time.Time
	newest time.Time            // that was seen, by the store's clock
	full   map[string]time.Time // of each beacon, by what names call it, the newest report with everything
	read   int
	failed []uint64
	row    int // failures in a row
	err    error
	bad    error // the first that was refused
}

// round reads what is new. Its error is the first of what is tried again; all else
// was read nevertheless.
func (s *Shelf) round(ctx context.Context, now time.Time) error {
	index, err := s.o.Index(ctx)
	if err != nil {
		return err
	}
	s.follow(index)
	r := &round{Shelf: s, now: now, full: map[string]time.Time{}}
	whole := s.whole.IsZero() || now.Before(s.whole) || now.Sub(s.whole) >= wholeEvery
	back := late
	if whole {
		back = lookBack
	}
	err = r.days(ctx, now.Add(-back), now.Add(early))
	r.strike()
	if r.bad != nil {
		s.o.Log.Warn("reports in the store were refused", slog.String("store", s.o.Name), slog.Uint64("so_far", s.Status().Refused), slog.Any("err", r.bad))
	}
	if err = cmp.Or(err, r.err); err == nil && whole {
		s.settle(r.newest, now)
	}
	return err
}

// days reads the days from first to last, the last one first: where all that a
// beacon knew is read, those before are passed over.
func (r *round) days(ctx context.Context, first, last time.Time) error {
	for day := date(last); !day.Before(date(first)); day = day.AddDate(0, 0, -1) {
		if err := r.day(ctx, day); err != nil {
			return err
		}
	}
	return nil
}

func date(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

func (r *round) day(ctx context.Context, day time.Time) error {
	after := ""
	for range maxPages {
		found, next, err := r.o.Store.List(ctx, fleet.Kind, day, after)
		if err != nil {
			return err
		}
		if err := r.some(ctx, found); err != nil || next == "" {
			return err
		}
		after = next
	}
	return fmt.Errorf("more than %d pages of reports of %s: who writes them?", maxPages, day.Format(time.DateOnly))
}

// some reads what is new of a page, of each beacon the newest first.
func (r *round) some(ctx context.Context, found []objectstore.Object) error {
	for _, o := range found {
		if o.Modified.After(r.newest) {
			r.newest = o.Modified
		}
	}
	fresh := slices.DeleteFunc(found, r.known)
	slices.SortFunc(fresh, func(a, b objectstore.Object) int {
		p, q := a.Name.Parts(), b.Name.Parts()
		return cmp.Or(cmp.Compare(p.Device, q.Device), q.At.Compare(p.At))
	})
	for _, o := range fresh {
		if err := r.one(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// known reports whether o was read.
func (r *round) known(o objectstore.Object) bool {
	_, seen := r.seen[r.mark(o)]
	return seen || o.Modified.Before(r.cursor.Settled)
}

// one reads a report. It returns an error if there is no use in going on.
func (r *round) one(ctx context.Context, o objectstore.Object) error {
	parts := o.Name.Parts()
	if full, ok := r.full[parts.Device]; ok && parts.At.Before(full) {
		r.remember(o)
		return nil
	}
	author, full, err := r.take(ctx, o)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, uploads.ErrUnknown): // gone since it was listed
		return nil
	case refused(err), err != nil && r.struck[r.mark(o)] >= maxStrikes:
		r.bad = cmp.Or(r.bad, err)
		r.count(func(s *Status) { s.Refused++ })
	case err != nil:
		return r.fail(o, err)
	case author != "":
		r.count(func(s *Status) { s.Read++ })
		if name, err := fleet.Name(author, parts.At, true, o.Name.Compressed()); full && err == nil && name == o.Name {
			r.full[parts.Device] = parts.At
		}
	}
	r.read, r.row = r.read+1, 0
	delete(r.struck, r.mark(o))
	r.remember(o)
	return nil
}

func refused(err error) bool {
	return errors.Is(err, uploads.ErrRefused) || errors.Is(err, uploads.ErrDigest) || errors.Is(err, uploads.ErrTooLarge) || errors.Is(err, fleet.ErrReport)
}

// fail goes on with the next object, unless it is the store that fails.
func (r *round) fail(o objectstore.Object, err error) error {
	r.err = cmp.Or(r.err, err)
	r.failed = append(r.failed, r.mark(o))
	if r.row++; r.row >= maxFailures {
		return err
	}
	return nil
}

// strike counts against objects that they failed while others could be read, so
// that none that can never be read is tried for ever.
func (r *round) strike() {
	if r.read == 0 {
		return
	}
	if len(r.struck) > maxSeen/64 {
		clear(r.struck)
	}
	for _, mark := range r.failed {
		r.struck[mark]++
	}
}

// take reads and verifies a report and passes it on. The author is empty for one
// that this beacon knows anyway.
func (r *round) take(ctx context.Context, o objectstore.Object) (author string, full bool, err error) {
	if o.Size > r.o.MaxBytes {
		return "", false, fmt.Errorf("%w: %s: %d bytes; %d are allowed", uploads.ErrTooLarge, o.Key, o.Size, r.o.MaxBytes)
	}
	u, body, err := r.o.Store.Read(ctx, fleet.Kind, o)
	if err != nil {
		return "", false, err
	}
	defer body.Close()
	switch {
	case slices.Contains(u.Via, r.o.Self):
		return "", false, nil
	case len(u.Via) == 0 || len(u.Via) > uploads.MaxHops:
		return "", false, fmt.Errorf("%w: %s: it says that %d beacons passed it on", uploads.ErrRefused, o.Key, len(u.Via))
	case u.Size != o.Size:
		return "", false, fmt.Errorf("read %s: it was replaced since it was listed", o.Key)
	}
	if u.Received = o.Modified; u.Received.IsZero() || u.Received.After(r.now) {
		u.Received = r.now
	}
	held, err := r.hold(body)
	if err != nil {
		return "", false, fmt.Errorf("read %s: %w", o.Key, err)
	}
	defer os.Remove(held.Name())
	defer held.Close()
	if full, err = r.o.Tell(ctx, u, held); err != nil {
		err = fmt.Errorf("%s: %w", o.Key, err)
	}
	return u.Via[0], full, err
}

// hold copies a body to the disk: nothing is told of it before all of it is known to
// be right, and it may be larger than what memory is for.
func (r *round) hold(body io.Reader) (*os.File, error) {
	f, err := os.OpenFile(r.file(".part"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = io.Copy(f, body); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, err
	}
	return f, nil
}
