package catalogue

import (
	"context"
	"time"
)

// pruneStep is how far the time by which is pruned follows the clock at once; it is
// done each hour and at each start. A longer step forgets sooner what became due while
// the beacon was off; a shorter one forgets less by a clock that is wrong: of each
// day that it is years ahead, six days too many.
const pruneStep = 6 * time.Hour

// pruneTime is the time by which is pruned: now, unless that is far ahead of the
// last one. A clock that was set back counts at once: less is forgotten by it.
func (b *batch) pruneTime(now time.Time) (time.Time, error) {
	var last int64
	known, err := b.get(`SELECT value FROM meta WHERE key = 'pruned'`, nil, &last)
	if most := fromMillis(last).Add(pruneStep); known && now.After(most) {
		now = most
	}
	return now, err
}

// prune forgets uploads and losses that ended before the horizon, uploads beyond
// the number that is to be listed, and the agent ids that a device, or a renamed
// machine, has left behind.
func (c *Catalogue) prune(ctx context.Context, now time.Time) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.write(ctx, func(b *batch) (err error) {
		now, err = b.pruneTime(now)
		return err
	}); err != nil {
		return err
	}
	before := millis(now.Add(-c.o.Horizon))
	for kind, horizon := range c.o.KindHorizons {
		if err := c.pruneWhile(ctx, func(b *batch) (int64, error) {
			return b.pruneUploads(`kind = ? AND received < ? AND state <> 'waiting' AND ended < ? ORDER BY received, seq LIMIT ?`,
				kind, millis(now.Add(-horizon)), millis(now.Add(-horizon)), batchEvents)
		}); err != nil {
			return err
		}
	}
	if err := c.pruneWhile(ctx, func(b *batch) (int64, error) {
		return b.pruneUploads(`received < ? AND state <> 'waiting' AND ended < ? ORDER BY received, seq LIMIT ?`, before, before, batchEvents)
	}); err != nil {
		return err
	}
	if err := c.pruneSurplus(ctx); err != nil {
		return err
	}
	return c.write(ctx, func(b *batch) error {
		if _, err := b.exec(`INSERT OR REPLACE INTO meta VALUES ('pruned', ?)`, millis(now)); err != nil {
			return err
		}
		return b.pruneRest(before, millis(now.Add(-cloneWindow)))
	})
}

// pruneWhile repeats f, which forgets some uploads in a transaction of its own,
// until there are none left, or ctx is done.
func (c *Catalogue) pruneWhile(ctx context.Context, f func(*batch) (int64, error)) error {
	for {
		var n int64
		err := c.write(ctx, func(b *batch) (err error) {
			n, err = f(b)
			return err
		})
		if err != nil || n == 0 {
			return err
		}
		c.counters.pruned.Add(uint64(n))
	}
}

// pruneSurplus forgets the oldest uploads above Options.MaxUploads. What waits
// stays.
func (c *Catalogue) pruneSurplus(ctx context.Context) error {
	if c.o.MaxUploads <= 0 {
		return nil
	}
	var surplus int64
	if err := c.write(ctx, func(b *batch) error {
		_, err := b.get(`SELECT count(*) - ? FROM uploads`, []any{c.o.MaxUploads}, &surplus)
		return err
	}); err != nil {
		return err
	}
	return c.pruneWhile(ctx, func(b *batch) (n int64, err error) {
		if surplus > 0 {
			n, err = b.pruneUploads(`state <> 'waiting' ORDER BY received, seq LIMIT ?`, min(surplus, batchEvents))
			surplus -= n
		}
		return n, err
	})
}

// pruneUploads forgets the uploads that a condition selects and returns how many.
func (b *batch) pruneUploads(condition string, args ...any) (int64, error) {
	selected := `SELECT seq FROM uploads WHERE ` + condition
	if err := b.forgetNews(selected, args...); err != nil {
		return 0, err
	}
	return b.exec(`DELETE FROM uploads WHERE seq IN (`+selected+`)`, args...)
}

func (b *batch) pruneRest(before, left int64) error {
	for _, table := range []string{"losses", "reported"} {
		if _, err := b.exec(`DELETE FROM `+table+` WHERE at < ?`, before); err != nil {
			return err
		}
	}
	if _, err := b.exec(`DELETE FROM reported WHERE at < (SELECT at FROM reported ORDER BY at DESC LIMIT 1 OFFSET ?)`, maxReported); err != nil {
		return err
	}
	_, err := b.exec(`DELETE FROM contacts WHERE agent_id <> '' AND last_seen < ?1 AND device IS NOT NULL AND EXISTS
		(SELECT 1 FROM contacts AS newer WHERE newer.last_seen >= ?1 AND newer.agent_id <> ''
			AND (newer.device = contacts.device OR newer.agent_id = contacts.agent_id))`, left)
	return err
}

// cloneWindow is how long two identities that were both seen count as a clone.
// Longer, a machine that was installed anew is shown as one for longer; shorter,
// two machines of which one is seldom on are not noticed.
const cloneWindow = 30 * 24 * time.Hour
