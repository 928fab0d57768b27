package catalogue

import (
	"context"
	"fmt"
	"time"

	"inventorybeacon/uploads/backoff"
	"inventorybeacon/uploads/spool"
)

const (
	// eventBuffer is how many events may wait to be written, at about 400 bytes
	// each. What exceeds it is read again from the journal, which costs disk
	// reads; a larger buffer costs memory while nothing happens.
	eventBuffer = 4096
	// batchEvents is the most events written in one transaction. Larger batches
	// cost less an event; smaller ones let queries see news sooner.
	batchEvents = 1024
	// gather is how long the first event of a batch waits for others. A longer
	// wait saves processor time that acknowledgements need; a shorter one shows
	// an upload in the listing sooner.
	gather = 100 * time.Millisecond
	// contactsEvery is how often contacts are written; the same trade.
	contactsEvery = time.Second
	// pruneEvery is how often what is beyond the horizon is looked for.
	pruneEvery = time.Hour
	// farewell bounds the last write when the beacon stops.
	farewell = 3 * time.Second
)

// retry spaces out attempts while the disk refuses to take the index.
var retry = backoff.Backoff{Min: time.Second, Max: time.Minute}

// Observe takes an event behind the acknowledgement. It never waits: if the
// buffer is full the event is dropped and read from the journal later.
func (c *Catalogue) Observe(e Event) {
	select {
	case c.events <- e:
	default:
		c.counters.dropped.Add(1)
		c.behind.Store(true)
	}
	c.rouse()
}

func (c *Catalogue) rouse() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Run indexes what src has and then what Observe and Seen take, until ctx ends;
// then it writes what is left and returns nil. A write that fails is logged and
// tried again, for ever. Only one Run may run.
func (c *Catalogue) Run(ctx context.Context, src Source) error {
	var l loop
	for ctx.Err() == nil {
		if err := c.round(ctx, src, &l); err != nil && ctx.Err() == nil {
			l.failures++
			c.counters.failures.Add(1)
			c.log.Warn("catalogue cannot be written; trying again", "error", err, "failures", l.failures)
			c.pause(ctx, &l, retry.Delay(l.failures))
			continue
		}
		l.failures = 0
		c.rest(ctx, &l)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	l.flushed = time.Time{}
	if err := c.round(last, src, &l); err != nil {
		c.log.Warn("catalogue stops behind the journal and catches up at the next start", "error", err)
	}
	return nil
}

// A loop is what Run remembers between its rounds.
type loop struct {
	failures int
	flushed  time.Time // contacts
	pruned   time.Time
	sync     chan error // who waits for the next round
	damage   error      // why the file has to be replaced first
}

// round writes what there is to write.
func (c *Catalogue) round(ctx context.Context, src Source, l *loop) (err error) {
	if l.sync != nil {
		defer func() { l.sync <- err; l.sync = nil }()
	}
	if err := c.repair(ctx, l); err != nil {
		return err
	}
	defer func() {
		if damaged(err) {
			l.damage = err
		}
	}()
	if err := c.drain(ctx, src); err != nil {
		c.behind.Store(true) // what was taken from the buffer is only in the journal now
		return err
	}
	now := time.Now()
	if l.sync != nil || now.Sub(l.flushed) >= contactsEvery {
		l.flushed = now
		if err := c.flush(ctx); err != nil {
			return err
		}
	}
	if now.Sub(l.pruned) >= pruneEvery {
		l.pruned = now
		return c.prune(ctx, now)
	}
	return nil
}

// rest waits until there is something to do, and then for others to join it.
func (c *Catalogue) rest(ctx context.Context, l *loop) {
	select {
	case <-ctx.Done():
		return
	case l.sync = <-c.syncs:
		return
	case <-c.wake:
	case <-time.After(pruneEvery):
		return
	}
	wait := gather
	if len(c.events) == 0 && !c.behind.Load() { // only contacts
		wait = max(wait, contactsEvery-time.Since(l.flushed))
	}
	c.pause(ctx, l, wait)
}

// pause waits for d, or until somebody wants to see the next round.
func (c *Catalogue) pause(ctx context.Context, l *loop, d time.Duration) {
	select {
	case <-ctx.Done():
	case l.sync = <-c.syncs:
	case <-time.After(d):
	}
}

// Sync returns once everything taken before is written, or has failed to be.
// It needs Run to be running.
func (c *Catalogue) Sync(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case c.syncs <- done:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drain indexes what is buffered, and what was dropped before.
func (c *Catalogue) drain(ctx context.Context, src Source) error {
	for {
		for c.behind.Swap(false) {
			c.discard() // the journal has them all, and those that were dropped
			if err := c.CatchUp(ctx, src); err != nil {
				return err
			}
		}
		events := c.buffered()
		if len(events) == 0 {
			return nil
		}
		// An event dropped while these were taken may belong before one of them.
		if c.behind.Load() {
			continue
		}
		if err := c.Index(ctx, events); err != nil {
			return err
		}
	}
}

// buffered takes up to a batch from the buffer.
func (c *Catalogue) buffered() (events []Event) {
	for len(events) < batchEvents {
		select {
		case e := <-c.events:
			events = append(events, e)
		default:
			return events
		}
	}
	return events
}

func (c *Catalogue) discard() {
	for {
		select {
		case <-c.events:
		default:
			return
		}
	}
}

// CatchUp indexes what src has beyond what is indexed. If src turns out to be
// another journal than the one that was indexed, everything is read again.
func (c *Catalogue) CatchUp(ctx context.Context, src Source) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	same, err := c.same(ctx, src)
	if err != nil {
		return fmt.Errorf("catch up with the journal: %w", err)
	}
	if !same {
		c.log.Warn("the journal is not the one that was indexed: reading all of it")
		if err := c.forget(ctx); err != nil {
			return err
		}
	}
	return c.catchUp(ctx, src)
}

// Reindex forgets uploads, deliveries, losses and what they say of devices, and
// reads them from src. What agents said of themselves stays. Meanwhile queries
// see part of it.
func (c *Catalogue) Reindex(ctx context.Context, src Source) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.forget(ctx); err != nil {
		return err
	}
	return c.catchUp(ctx, src)
}

func (c *Catalogue) catchUp(ctx context.Context, src Source) error {
	c.counters.caughtUp.Add(1)
	events := make([]Event, 0, batchEvents)
	for e, err := range src.Events(c.Position()) {
		if err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
		if events = append(events, e); len(events) < batchEvents {
			continue
		}
		if err := c.index(ctx, events); err != nil {
			return err
		}
		events = events[:0]
	}
	return c.index(ctx, events)
}

// same reports whether src knows the newest upload that is indexed. If it does
// not, it is a new journal in the place of the old, whose numbers begin again.
func (c *Catalogue) same(ctx context.Context, src Source) (bool, error) {
	var seq int64
	var digest []byte
	var none bool
	err := c.write(ctx, func(b *batch) error {
		found, err := b.get(`SELECT seq, sha256 FROM uploads ORDER BY seq DESC LIMIT 1`, nil, &seq, &digest)
		none = !found
		return err
	})
	if err != nil {
		return false, err
	}
	if none {
		return c.Position() == 0, nil
	}
	for e, err := range src.Events(uint64(seq) - 1) {
		if err != nil {
			return false, err
		}
		return e.What == spool.Accepted && e.Seq == uint64(seq) && string(e.Upload.Digest[:]) == string(digest), nil
	}
	return false, nil
}

// forget empties what the journal can fill again.
func (c *Catalogue) forget(ctx context.Context) error {
	err := c.write(ctx, func(b *batch) error {
		for _, statement := range []string{
			`DELETE FROM uploads`, `DELETE FROM deliveries`, `DELETE FROM losses`, `DELETE FROM activity`,
			`UPDATE contacts SET device = NULL`, `DELETE FROM devices`,
			`DELETE FROM meta WHERE key IN ('position', 'other_uploads')`,
		} {
			if _, err := b.exec(statement); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("empty the catalogue: %w", err)
	}
	c.devices = 0
	c.position.Store(0)
	return nil
}

// repair puts a new file in the place of one that was found damaged.
func (c *Catalogue) repair(ctx context.Context, l *loop) error {
	select {
	case l.damage = <-c.suspect:
	default:
	}
	if l.damage == nil {
		return nil
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.recreate(ctx, l.damage); err != nil {
		return fmt.Errorf("replace the damaged catalogue: %w", err)
	}
	l.damage = nil
	return nil
}
