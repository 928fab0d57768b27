package desk

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"

	"inventorybeacon/uploads/catalogue"
)

// The stages of making the index anew.
const (
	StageEvents = "events" // of the journal and the receipts
	StageKept   = "kept"
	StageDone   = "done"
)

// A ReindexStep says how far it is.
type ReindexStep struct {
	Stage string `json:"stage"`
	// Done of Of are read; Of is what was indexed before, 0 if unknown.
	Done uint64 `json:"done"`
	Of   uint64 `json:"of,omitempty"`
	// Counts is what is in the index, at the end.
	Counts *catalogue.Counts `json:"counts,omitempty"`
}

// ReindexUploads has the index made anew. The answer is a JSON [ReindexStep] a
// line; it is complete if the last one is of [StageDone].
var ReindexUploads = Stream[struct{}]{"uploads.reindex", (*Desk).reindexUploads}

// stepEvery is how often a reindex says how far it is.
const stepEvery = time.Second

func (d *Desk) reindexUploads(ctx context.Context, _ struct{}, w io.Writer) error {
	cat, err := d.catalogue(ctx)
	if err != nil {
		return err
	}
	s, err := d.spool()
	if err != nil {
		return err
	}
	copies, err := d.kept()
	if err != nil {
		return err
	}
	steps := &steps{w: w}
	of := cat.Position()
	stop := steps.follow(func() ReindexStep { return ReindexStep{Stage: StageEvents, Done: cat.Position(), Of: of} })
	err = cat.Reindex(ctx, s)
	stop()
	if err != nil {
		return err
	}
	steps.say(ReindexStep{Stage: StageKept})
	if err := errors.Join(cat.ReplaceKept(ctx, catalogue.KeptFiles(copies)), d.indexDepartures(ctx, cat)); err != nil {
		return err
	}
	counts, err := cat.Counts(ctx)
	if err != nil {
		return err
	}
	return steps.say(ReindexStep{Stage: StageDone, Done: counts.Position, Counts: &counts})
}

// indexDepartures tells the index what left the quarantine, which the journal does
// not know.
func (d *Desk) indexDepartures(ctx context.Context, cat *catalogue.Catalogue) error {
	q, err := d.refused()
	if err != nil {
		return err
	}
	record, err := q.Record()
	if err != nil {
		return err
	}
	return cat.Dropped(ctx, record)
}

// steps are written one at a time.
type steps struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *steps) say(step ReindexStep) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := json.NewEncoder(s.w).Encode(step); err != nil {
		return err
	}
	if f, ok := s.w.(interface{ Flush() error }); ok {
		return f.Flush()
	}
	return nil
}

// follow says again and again how far it is, until it is stopped.
func (s *steps) follow(step func() ReindexStep) (stop func()) {
	done := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		every := time.NewTicker(stepEvery)
		defer every.Stop()
		for {
			select {
			case <-done:
				return
			case <-every.C:
				s.say(step()) // who asked may be gone; the work is done all the same
			}
		}
	})
	return func() { close(done); ended.Wait() }
}
