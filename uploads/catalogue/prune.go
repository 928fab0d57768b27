package catalogue

import (
	"context"
	"time"
)

// prune forgets uploads and losses that ended before the horizon, and the agent
// ids that a device, or a renamed machine, has left behind.
func (c *Catalogue) prune(ctx context.Context, now time.Time) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	before := millis(now.Add(-c.o.Horizon))
	for {
		var n int64
		err := c.write(ctx, func(b *batch) (err error) {
			if n, err = b.pruneUploads(before); err != nil || n > 0 {
				return err
			}
			return b.pruneRest(before, millis(now.Add(-cloneWindow)))
		})
		if err != nil || n == 0 {
			return err
		}
		c.counters.pruned.Add(uint64(n))
	}
}

// pruneUploads forgets some and returns how many.
func (b *batch) pruneUploads(before int64) (int64, error) {
	if _, err := b.exec(`DELETE FROM deliveries WHERE seq IN
		(SELECT seq FROM uploads WHERE received < ?1 AND state <> 'waiting' AND ended < ?1 ORDER BY received, seq LIMIT ?2)`,
		before, batchEvents); err != nil {
		return 0, err
	}
	return b.exec(`DELETE FROM uploads WHERE seq IN
		(SELECT seq FROM uploads WHERE received < ?1 AND state <> 'waiting' AND ended < ?1 ORDER BY received, seq LIMIT ?2)`,
		before, batchEvents)
}

func (b *batch) pruneRest(before, left int64) error {
	if _, err := b.exec(`DELETE FROM losses WHERE at < ?`, before); err != nil {
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
