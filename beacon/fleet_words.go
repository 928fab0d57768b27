package beacon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
	"inventorybeacon/uploads/fleet"
	"inventorybeacon/uploads/fleet/shelf"
	"inventorybeacon/uploads/kept"
	"inventorybeacon/uploads/spool"
)

// A wordReader reads the reports of beacons below into the catalogue: behind their
// acceptance, and at the latest before a delivery of the file is recorded, since
// its bytes may then be gone.
type wordReader struct {
	b    *Beacon
	log  *slog.Logger
	wake chan struct{}

	mu      sync.Mutex
	waiting []uint64 // accepted, not read
	done    map[uint64]bool
	counts  wordCounts

	reading sync.Mutex
	absent  absent
	shelves []*shelf.Shelf // stores in which more words are
}

type wordCounts struct{ read, refused, dropped uint64 }

// waitingWords bounds the reports that wait to be read, and remembered ones: what
// exceeds it is read when it is delivered, perhaps twice, which changes nothing.
const waitingWords = 4096

func (w *wordReader) arrived(seq uint64) {
	w.mu.Lock()
	if len(w.waiting) < waitingWords {
		w.waiting = append(w.waiting, seq)
	}
	w.mu.Unlock()
	w.rouse()
}

func (w *wordReader) rouse() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *wordReader) stats() wordCounts {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts
}

// lookAgain is how often it is looked whether the index is still the one that was
// told everything.
const lookAgain = time.Minute

// Run reads until ctx is done.
func (w *wordReader) Run(ctx context.Context) error {
	var shelves sync.WaitGroup
	defer shelves.Wait()
	for _, s := range w.shelves {
		shelves.Go(func() { s.Run(ctx) }) // which ends with ctx alone
	}
	var index int64
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		now, _, err := w.b.catalogue.Changes(ctx)
		if err == nil && now != index {
			index = now
			w.recall(ctx)
		}
		w.readWaiting(ctx)
		w.absent.count(ctx, w.b, time.Now())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.wake:
		case <-tick.C:
		}
	}
}

func (w *wordReader) readWaiting(ctx context.Context) {
	for ctx.Err() == nil {
		w.mu.Lock()
		if len(w.waiting) == 0 {
			w.mu.Unlock()
			return
		}
		seq := w.waiting[0]
		w.waiting = w.waiting[1:]
		w.mu.Unlock()
		if u, held := w.b.spool.Lookup(seq); held {
			w.take(ctx, u)
		}
	}
}

// recall reads what is here of words, since the index may be new: the kept reports
// and those that wait for their relay.
func (w *wordReader) recall(ctx context.Context) {
	for e := range w.b.kept.Entries() {
		if ctx.Err() != nil {
			return
		}
		if u := keptUpload(e); isWord(u) {
			w.read(ctx, u, func() (uploads.Body, error) { return w.b.kept.Body(e) })
		}
	}
	w.mu.Lock()
	clear(w.done)
	w.mu.Unlock()
	var page []spool.Key
	for after := uint64(0); ctx.Err() == nil; after = page[len(page)-1].Seq {
		if page = w.b.spool.Held(after, waitingWords, page[:0]); len(page) == 0 {
			return
		}
		for _, k := range page {
			if k.Kind != fleet.Kind {
				continue
			}
			if u, held := w.b.spool.Lookup(k.Seq); held && isWord(u) {
				w.take(ctx, u)
			}
		}
	}
}

func keptUpload(e kept.Entry) uploads.Upload {
	return uploads.Upload{Kind: e.Kind, Name: e.Name, Via: e.Via, Peer: e.Peer, Received: e.Received}
}

// take reads a held report once.
func (w *wordReader) take(ctx context.Context, u uploads.Upload) {
	w.reading.Lock()
	defer w.reading.Unlock()
	w.mu.Lock()
	was := w.done[u.Seq]
	if len(w.done) >= waitingWords {
		clear(w.done)
	}
	w.done[u.Seq] = true
	w.mu.Unlock()
	if !was {
		w.read(ctx, u, func() (uploads.Body, error) { return w.b.spool.Body(u.Seq) })
	}
}

func (w *wordReader) read(ctx context.Context, u uploads.Upload, open func() (uploads.Body, error)) {
	body, err := open()
	if err == nil {
		_, err = w.tell(ctx, u, body)
		body.Close()
	}
	w.mu.Lock()
	switch {
	case err == nil:
		w.counts.read++
	case !errors.Is(err, uploads.ErrUnknown) && ctx.Err() == nil:
		w.counts.refused++
	}
	w.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		w.log.Warn("fleet status not read", slog.String("name", u.Name.String()), slog.Any("via", u.Via), slog.Any("err", err))
	}
}

// tell notes what a report says under the names of who wrote it and who brought it,
// and says whether it holds all that its beacon knew.
func (w *wordReader) tell(ctx context.Context, u uploads.Upload, body uploads.Body) (full bool, err error) {
	who := catalogue.Teller{Beacon: u.Via[0], Child: u.Via[len(u.Via)-1], Peer: u.Peer}
	var at time.Time
	dropped := 0
	passed, err := fleet.Read(body, u.Name.Compressed(), u.Received, func(b fleet.Beacon) error {
		if b.Beacon != who.Beacon {
			return fmt.Errorf("%w: it speaks for %q, and came from %q", fleet.ErrReport, b.Beacon, who.Beacon)
		}
		at, full = b.At, b.Full
		return w.b.catalogue.TellBeacon(ctx, who, b, u.Received)
	}, func(devices []fleet.Device) error {
		n, err := w.b.catalogue.TellDevices(ctx, who, at, devices)
		dropped += n
		return err
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts.dropped += uint64(dropped + passed)
	return full, err
}
