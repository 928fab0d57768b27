package catalogue

import (
	"context"
	"fmt"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/custody"
)

// NotStored returns the newest files, at most limit and none received before
// since, that a sink took without anybody having told that the store has them.
func (c *Catalogue) NotStored(ctx context.Context, sink string, since time.Time, limit int) ([]custody.File, error) {
	var q query
	q.add(`SELECT u.kind, u.name, u.sha256 FROM uploads u JOIN deliveries d ON d.seq = u.seq AND d.sink = ?`, sink)
	q.where(`u.received >= ?`, millis(since))
	q.where(`instr(d.custody, ?) = 0`, `"level":"`+uploads.LevelStore+`"`)
	q.where(`NOT EXISTS (SELECT 1 FROM learnt l WHERE l.seq = u.seq AND instr(l.custody, ?) > 0)`, `"level":"`+uploads.LevelStore+`"`)
	q.add(` ORDER BY u.received DESC LIMIT ?`, limit)
	found, err := read(ctx, c, &q, func(r row) (f custody.File, err error) {
		var name string
		var digest []byte
		if err := r.Scan(&f.Kind, &name, &digest); err != nil {
			return f, err
		}
		copy(f.Digest[:], digest)
		f.Name, err = uploads.ParseName(name)
		return f, err
	})
	if err != nil {
		return nil, fmt.Errorf("list what is not known to be stored: %w", err)
	}
	return found, nil
}
