package catalogue

import (
	"context"
	"fmt"
	"iter"
	"time"

	"inventorybeacon/uploads/spool"
)

// CatchUp indexes what src has beyond what is indexed. If src turns out to be
// another journal than the one that was indexed, everything is read again. An
// event that src cannot read is left out, with a word in the log.
func (c *Catalogue) CatchUp(ctx context.Context, src Source) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.broken {
		return c.refill(ctx, src)
	}
	if c.compared { // a journal is not exchanged under a running process
		return c.catchUp(ctx, src.Events(c.Position()))
	}
	anchor, err := c.newest(ctx)
	if err != nil {
		return fmt.Errorf("catch up with the journal: %w", err)
	}
	events, stop := iter.Pull2(src.Events(max(anchor.seq, 1) - 1))
	defer stop()
	first, err, any := events()
	if err == nil && !anchor.is(first, any, c.Position()) {
		c.log.Warn("the journal is not the one that was indexed: reading all of it")
		if err := c.forget(ctx); err != nil {
			return err
		}
		return c.compareWith(c.catchUp(ctx, src.Events(0)))
	}
	return c.compareWith(c.catchUp(ctx, func(yield func(Event, error) bool) {
		for ; any && yield(first, err); first, err, any = events() {
		}
	}))
}

// compareWith notes that the journal is known, unless err says that it could
// not be read.
func (c *Catalogue) compareWith(err error) error {
	c.compared = err == nil
	return err
}

// Reindex forgets uploads, deliveries, losses and what they say of devices, and
// reads them from src. What agents said of themselves stays. Meanwhile queries
// see part of it.
func (c *Catalogue) Reindex(ctx context.Context, src Source) error {
	if err := c.reindex(ctx, src); err != nil {
		return err
	}
	return c.prune(ctx, time.Now())
}

func (c *Catalogue) reindex(ctx context.Context, src Source) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.refill(ctx, src)
}

// refill reads all of src into an empty index. If it ends early, what was observed
// meanwhile does not follow: the next one to write begins again.
func (c *Catalogue) refill(ctx context.Context, src Source) error {
	c.broken = true
	c.backlog.fail() // so that somebody does
	if err := c.forget(ctx); err != nil {
		return err
	}
	err := c.compareWith(c.catchUp(ctx, src.Events(0)))
	c.broken = err != nil
	return err
}

func (c *Catalogue) catchUp(ctx context.Context, journal iter.Seq2[Event, error]) error {
	c.counters.caughtUp.Add(1)
	events := make([]Event, 0, batchEvents)
	for e, err := range journal {
		switch {
		case err != nil && e.Seq == 0:
			return fmt.Errorf("read the journal: %w", err)
		case err != nil:
			c.counters.unreadable.Add(1)
			c.log.Error("an event cannot be read and is left out of the catalogue; `beacon uploads reindex` tries again", "seq", e.Seq, "error", err)
			continue
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

// An anchor is the newest upload that is indexed and that the journal must
// still know: if it does not, it is a new one in the place of the old, whose
// numbers begin again.
type anchor struct {
	seq    uint64
	digest []byte
}

func (c *Catalogue) newest(ctx context.Context) (a anchor, err error) {
	err = c.write(ctx, func(b *batch) error {
		_, err := b.get(`SELECT seq, sha256 FROM uploads WHERE reason <> ? ORDER BY seq DESC LIMIT 1`, []any{spool.LossDamaged}, &a.seq, &a.digest)
		return err
	})
	return a, err
}

// is reports whether the first event at the anchor's number is the anchor.
func (a anchor) is(first Event, any bool, position uint64) bool {
	if a.seq == 0 {
		return position == 0
	}
	return any && first.What == spool.Accepted && first.Seq == a.seq && string(first.Upload.Digest[:]) == string(a.digest)
}

// forget empties what the journal can fill again.
func (c *Catalogue) forget(ctx context.Context) error {
	err := c.write(ctx, func(b *batch) error {
		for _, statement := range []string{
			`DELETE FROM uploads`, `DELETE FROM deliveries`, `DELETE FROM losses`, `DELETE FROM activity`,
			`DELETE FROM refusals`, `DELETE FROM learnt`, `UPDATE reported SET resent = 0`,
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
