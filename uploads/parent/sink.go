package parent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"inventorybeacon/uploads"
)

// A Locator knows where uploads may go. Its methods may be called from several
// goroutines.
type Locator interface {
	// Order returns the locations to try, best first.
	Order(ctx context.Context) []Location
	// Report tells how a location did: nil if it answered as a beacon does, be
	// it with a refusal, else what went wrong.
	Report(at Location, err error)
}

// Fixed is a Locator of locations that are always tried in the order given.
type Fixed []Location

var _ Locator = Fixed(nil)

// Order implements [Locator].
func (f Fixed) Order(context.Context) []Location { return f }

// Report implements [Locator].
func (f Fixed) Report(Location, error) {}

// A Sink delivers uploads to the first location that takes them.
type Sink struct {
	Client    *Client
	Locations Locator
	// Level is what a location's own custody counts as here: [uploads.LevelBeacon]
	// for an agent, [uploads.LevelParent] for a beacon, whose own custody is the
	// level below. Empty means the latter.
	Level string
	// Classic, if not nil, says how to speak to locations that have not yet proved
	// to be beacons of ours.
	Classic *Classic

	mu        sync.Mutex
	uncertain map[string]bool // receipts of files that may have arrived
}

var _ uploads.Sink = (*Sink)(nil)

// Group implements [uploads.Sink]: a PUT carries one file.
func (s *Sink) Group() int { return 1 }

// Deliver implements [uploads.Sink].
func (s *Sink) Deliver(ctx context.Context, parcels []uploads.Parcel) []uploads.Delivery {
	out := make([]uploads.Delivery, len(parcels))
	for i, p := range parcels {
		out[i] = s.deliver(ctx, p)
	}
	return out
}

// ErrNowhere means the locator has no location to try.
var ErrNowhere = errors.New("no beacon to send to")

// deliver walks the locations until one takes the file or settles its fate. If
// all want to be left alone, the shortest wait counts.
func (s *Sink) deliver(ctx context.Context, p uploads.Parcel) uploads.Delivery {
	failed := ErrNowhere
	for _, at := range s.Locations.Order(ctx) {
		r, err := s.send(ctx, at, p)
		if ctx.Err() != nil {
			return uploads.Delivery{Err: ctx.Err()}
		}
		s.report(at, err)
		if err == nil {
			return uploads.Delivery{Custody: s.custody(r)}
		}
		failed = worse(failed, err)
		if settled(err) {
			return uploads.Delivery{Err: err}
		}
	}
	return uploads.Delivery{Err: failed}
}

// report passes on what a location's answer says about the location itself.
func (s *Sink) report(at Location, err error) {
	if errors.Is(err, uploads.ErrRefused) || errors.Is(err, uploads.ErrDigest) {
		err = nil
	}
	s.Locations.Report(at, err)
}

// worse keeps, of two failures, the one after which it makes sense to try again first.
func worse(a, b error) error {
	was, ok := errors.AsType[*uploads.RetryError](a)
	now, asks := errors.AsType[*uploads.RetryError](b)
	if a == ErrNowhere || !asks || ok && now.After < was.After {
		return b
	}
	return a
}

// send makes one attempt at one location. A body that may have arrived before
// costs a HEAD instead of a second body.
func (s *Sink) send(ctx context.Context, at Location, p uploads.Parcel) (uploads.Receipt, error) {
	if s.Classic != nil && !s.Classic.Proven.Has(at.Root) {
		return s.Classic.put(ctx, s.Client, at, p)
	}
	id := uploads.ReceiptID(p.Kind, p.Name, p.Digest)
	if s.mayHaveArrived(id) {
		held, err := s.Client.Held(ctx, at, p.Upload)
		if err != nil {
			return uploads.Receipt{}, fmt.Errorf("ask %s: %w", at.Name, err)
		}
		if held {
			s.forget(id)
			return Implied(at, p.Upload, time.Now()), nil
		}
	}
	r, err := s.Client.Put(ctx, at, p.Upload, p.Open)
	switch _, cut := errors.AsType[*CutError](err); {
	case cut:
		s.remember(id)
	case err == nil || settled(err):
		s.forget(id)
	}
	return r, err
}

// maxUncertain bounds the memory of bodies that may have arrived. One that is
// forgotten costs a repeat, which is harmless.
const maxUncertain = 1024

func (s *Sink) mayHaveArrived(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.uncertain[id]
}

func (s *Sink) remember(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uncertain == nil || len(s.uncertain) >= maxUncertain {
		s.uncertain = map[string]bool{}
	}
	s.uncertain[id] = true
}

func (s *Sink) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.uncertain, id)
}

// custody returns the receipt's custody as it counts here.
func (s *Sink) custody(r uploads.Receipt) []uploads.Custody {
	level := s.Level
	if level == "" {
		level = uploads.LevelParent
	}
	var out []uploads.Custody
	for _, c := range r.Custody {
		if c.Level == uploads.LevelBeacon {
			c.Level = level
		}
		out = append(out, c)
	}
	return out
}
