package catalogue

import (
	"context"
	"fmt"

	"inventorybeacon/uploads/quarantine"
)

// flagged notes what a check found in an upload.
func (b *batch) flagged(e Event) error {
	_, err := b.exec(`UPDATE uploads SET flag = ? WHERE seq = ?`, e.Detail, int64(e.Upload.Seq))
	return err
}

// Dropped notes that quarantined files are not there any more, which the journal
// does not know. The losses stay what they are.
func (c *Catalogue) Dropped(ctx context.Context, left []quarantine.Entry) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	err := c.write(ctx, func(b *batch) error {
		for _, e := range left {
			if e.Left == nil {
				continue
			}
			if _, err := b.exec(`UPDATE uploads SET state = 'lost', detail = detail || ? WHERE receipt = ? AND state = 'quarantined'`, departure(e.Left), e.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("note what left the quarantine: %w", err)
	}
	return nil
}

func departure(d *quarantine.Departure) string {
	switch {
	case d.How == quarantine.LeftOperator && d.By != "":
		return "; dropped from quarantine by " + d.By
	case d.How == quarantine.LeftOperator:
		return "; dropped from quarantine"
	}
	return "; left the quarantine (" + d.How + ")"
}
