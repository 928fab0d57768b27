package catalogue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"inventorybeacon/uploads/quarantine"
)

// flagged notes what a check found in an upload.
func (b *batch) flagged(e Event) error {
	_, err := b.exec(`UPDATE uploads SET flag = ? WHERE seq = ?`, e.Detail, int64(e.Upload.Seq))
	return err
}

// Dropped notes which quarantined files are not there any more, which the journal
// does not know. The losses stay what they are. What was refused after the record
// was made is left alone.
func (c *Catalogue) Dropped(ctx context.Context, r quarantine.Record) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	err := c.write(ctx, func(b *batch) error {
		stays, err := b.stays(r.Of)
		if err != nil {
			return err
		}
		for _, s := range stays {
			how, gone := s.end(r)
			if !gone {
				continue
			}
			if _, err := b.exec(`UPDATE uploads SET state = 'lost', detail = detail || ? WHERE seq = ?`, how, s.seq); err != nil {
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

// A stay is an upload that is quarantined as far as the index knows.
type stay struct {
	seq     int64
	receipt string
	since   time.Time // of its refusal: a little later than the entry's
	newest  bool      // of its receipt
}

// stays returns those of one receipt, or all, the newest first.
func (b *batch) stays(receipt string) (out []stay, err error) {
	q := `SELECT seq, receipt, ended FROM uploads WHERE state = 'quarantined' AND state <> 'delivered' ORDER BY seq DESC`
	var args []any
	if receipt != "" {
		q, args = `SELECT seq, receipt, ended FROM uploads WHERE receipt = ? AND state = 'quarantined' ORDER BY seq DESC`, []any{receipt}
	}
	rows, err := b.tx.QueryContext(b.ctx, q, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	seen := map[string]bool{}
	for rows.Next() {
		var s stay
		var ended int64
		if err := rows.Scan(&s.seq, &s.receipt, &ended); err != nil {
			return nil, err
		}
		s.since, s.newest = fromMillis(ended), !seen[s.receipt]
		seen[s.receipt] = true
		out = append(out, s)
	}
	return out, rows.Err()
}

// end says how a stay ended, if it did. The newest upload of what is here is never
// given up, whatever the clocks say.
func (s stay) end(r quarantine.Record) (how string, gone bool) {
	came, here := r.Here[s.receipt]
	if here && (s.newest || !s.since.Before(came)) || !s.since.Before(r.At) {
		return "", false
	}
	for _, e := range slices.Backward(r.Left[s.receipt]) {
		if e.Left != nil && !s.since.Before(e.At) {
			return departure(e.Left), true
		}
	}
	return "; left the quarantine; the record of it is gone", true
}

// released notes that a person let a file go on, which came as a new upload.
func (b *batch) released(receipt string, seq uint64) error {
	_, err := b.exec(`UPDATE uploads SET state = 'lost', detail = detail || '; released from quarantine'
		WHERE seq = (SELECT max(seq) FROM uploads WHERE receipt = ? AND seq < ? AND state = 'quarantined')`, receipt, int64(seq))
	return err
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
