package catalogue

import (
	"context"
	"fmt"
	"time"

	"inventorybeacon/uploads/backoff"
)

const (
	// batchEvents is the most events written in one transaction. Larger batches
	// cost less an event; smaller ones let queries see news sooner.
	batchEvents = 1024
	// gather is how long the first event of a batch waits for others. A longer
	// wait saves processor time that acknowledgements need; a shorter one shows
	// an upload in the listing sooner.
	gather = 100 * time.Millisecond
	// leisure is how many times as long as the last batch took the next one
	// waits while the backlog is short. More leaves a burst of uploads more of
	// the processor; less keeps the listing closer behind it.
	leisure = 3
	// lull is how long no event may come for a burst to be over, and lag how long the
	// index stays behind one. Writing it in the middle of a burst takes from uploads
	// what they need, processor and disk; waiting longer shows them later to who only
	// looks at the file.
	lull = 100 * time.Millisecond
	lag  = 5 * time.Second
	// calm is how long no event may have been refused before the journal is read
	// for those that were, and patience how long that is put off at most.
	// Reading it in the middle of a burst slows the burst; waiting leaves the
	// listing behind.
	calm     = time.Second
	patience = 30 * time.Second
	// contactsEvery is how often contacts are written; the same trade as gather.
	contactsEvery = time.Second
	// pruneEvery is how often what is beyond the horizon is looked for.
	pruneEvery = time.Hour
	// farewell bounds the last write when the beacon stops.
	farewell = 3 * time.Second
)

// retry spaces out attempts while the disk refuses to take the index.
var retry = backoff.Backoff{Min: time.Second, Max: time.Minute}

// Observe takes an event behind the acknowledgement. It never waits: if the
// backlog is full the event is dropped and read from the journal later.
func (c *Catalogue) Observe(e Event) {
	if !c.backlog.add(e) {
		c.counters.dropped.Add(1)
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
	l := loop{all: true}
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
	l.all = true
	if err := c.round(last, src, &l); err != nil {
		c.log.Warn("catalogue stops behind the journal and catches up at the next start", "error", err)
	}
	return nil
}

// A loop is what Run remembers between its rounds.
type loop struct {
	all      bool       // the next round leaves nothing for later
	sync     chan error // who waits for it
	damage   error      // why the file has to be replaced first
	failures int
	took     time.Duration // the last batch
	late     time.Time     // since when the journal is to be read
	flushed  time.Time     // contacts
	pruned   time.Time
}

// round writes what there is to write.
func (c *Catalogue) round(ctx context.Context, src Source, l *loop) (err error) {
	defer func() {
		if damaged(err) {
			l.damage = err
		}
		if l.sync != nil {
			l.sync <- err
			l.sync = nil
		}
	}()
	if err := c.repair(ctx, l); err != nil {
		return err
	}
	if err := c.follow(ctx, src, l, time.Now()); err != nil {
		return err
	}
	now := time.Now()
	if l.all || now.Sub(l.flushed) >= contactsEvery {
		l.flushed = now
		if err := c.flush(ctx); err != nil {
			return err
		}
	}
	l.all = false
	if now.Sub(l.pruned) >= pruneEvery {
		l.pruned = now
		return c.prune(ctx, now)
	}
	return nil
}

// follow writes a batch of the backlog, or all of it, and reads the journal for
// what did not fit once it is time to.
func (c *Catalogue) follow(ctx context.Context, src Source, l *loop, now time.Time) error {
	for left := c.backlog.len(); left > 0; left -= batchEvents {
		if err := c.Index(ctx, c.backlog.take(batchEvents)); err != nil {
			c.backlog.fail()
			return err
		}
		if !l.all {
			break
		}
	}
	l.took = time.Since(now)
	behind, refused := c.backlog.gap()
	switch {
	case !behind || c.backlog.len() > 0:
		return nil
	case l.late.IsZero():
		l.late = now
	}
	if !l.all && now.Sub(refused) < calm && now.Sub(l.late) < patience {
		return nil
	}
	l.late = time.Time{}
	c.backlog.resume()
	if err := c.CatchUp(ctx, src); err != nil {
		c.backlog.fail()
		return err
	}
	return nil
}

// rest waits until there is something to do, and then for others to join it.
func (c *Catalogue) rest(ctx context.Context, l *loop) {
	behind, _ := c.backlog.gap()
	switch n := c.backlog.len(); {
	case n > c.backlog.size/2:
		return
	case n >= batchEvents:
		c.pause(ctx, l, max(gather, leisure*l.took))
		return
	case n > 0:
		c.linger(ctx, l, max(gather, leisure*l.took))
		return
	case behind:
		c.pause(ctx, l, calm)
		return
	}
	select {
	case <-ctx.Done():
		return
	case l.sync = <-c.syncs:
		l.all = true
		return
	case <-c.wake:
	case <-time.After(pruneEvery):
		return
	}
	wait := gather
	if c.backlog.len() == 0 { // only contacts
		wait = max(wait, contactsEvery-time.Since(l.flushed))
	}
	c.linger(ctx, l, wait)
}

// linger waits for d, and for the end of a burst.
func (c *Catalogue) linger(ctx context.Context, l *loop, d time.Duration) {
	c.pause(ctx, l, d)
	for began := time.Now(); !l.all && ctx.Err() == nil && time.Since(began) < lag && c.backlog.bursting() && !c.sightings.crowded(); {
		c.pause(ctx, l, lull)
	}
}

// pause waits for d, or until somebody wants to see everything written.
func (c *Catalogue) pause(ctx context.Context, l *loop, d time.Duration) {
	select {
	case <-ctx.Done():
	case l.sync = <-c.syncs:
		l.all = true
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
