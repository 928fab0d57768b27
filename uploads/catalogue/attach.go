package catalogue

import (
	"context"
	"strings"

	"inventorybeacon/uploads"
)

// attachAtOnce is how many uploads are looked up together.
const attachAtOnce = 500

// attach adds to uploads what other tables know of them.
func (c *Catalogue) attach(ctx context.Context, found []Upload) error {
	for len(found) > 0 {
		n := min(len(found), attachAtOnce)
		if err := c.attachTo(ctx, found[:n]); err != nil {
			return err
		}
		found = found[n:]
	}
	return nil
}

func (c *Catalogue) attachTo(ctx context.Context, found []Upload) error {
	bySeq := make(map[uint64]*Upload, len(found))
	args := make([]any, len(found))
	for i := range found {
		found[i].Deliveries = []Delivery{} // a list in JSON, even if empty
		bySeq[found[i].Seq], args[i] = &found[i], int64(found[i].Seq)
	}
	those := `seq IN (?` + strings.Repeat(`, ?`, len(args)-1) + `)`
	for _, table := range []struct {
		query string
		add   func(r row) error
	}{
		{`SELECT seq, sink, at, custody FROM deliveries WHERE ` + those + ` ORDER BY seq, at, sink`, func(r row) error {
			var seq uint64
			var d Delivery
			var at int64
			var custody string
			err := r.Scan(&seq, &d.Sink, &at, &custody)
			if err == nil {
				d.Custody, err = fromList[uploads.Custody](custody)
			}
			d.At = fromMillis(at)
			bySeq[seq].Deliveries = append(bySeq[seq].Deliveries, d)
			return err
		}},
		{`SELECT seq, sink, at, detail FROM refusals WHERE ` + those + ` ORDER BY seq, at, sink`, func(r row) error {
			var seq uint64
			var f Refusal
			var at int64
			err := r.Scan(&seq, &f.Sink, &at, &f.Detail)
			f.At = fromMillis(at)
			bySeq[seq].Refusals = append(bySeq[seq].Refusals, f)
			return err
		}},
		{`SELECT seq, custody FROM learnt WHERE ` + those + ` ORDER BY seq, event`, func(r row) error {
			var seq uint64
			var custody string
			if err := r.Scan(&seq, &custody); err != nil {
				return err
			}
			learnt, err := fromList[uploads.Custody](custody)
			bySeq[seq].Learnt = append(bySeq[seq].Learnt, learnt...)
			return err
		}},
	} {
		var q query
		q.add(table.query, args...)
		if _, err := read(ctx, c, &q, func(r row) (struct{}, error) { return struct{}{}, table.add(r) }); err != nil {
			return err
		}
	}
	return nil
}
