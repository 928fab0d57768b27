package catalogue

import (
	"context"
	"database/sql"
	"strings"

	"inventorybeacon/uploads"
)

// A query is a statement put together from constant fragments; what a person
// typed only ever goes into args.
type query struct {
	text strings.Builder
	args []any
	and  bool
}

// add appends a fragment and its arguments.
func (q *query) add(fragment string, args ...any) {
	q.text.WriteString(fragment)
	q.args = append(q.args, args...)
}

// where appends a condition that all rows must meet.
func (q *query) where(condition string, args ...any) {
	if q.and {
		q.text.WriteString(" AND ")
	} else {
		q.text.WriteString(" WHERE ")
	}
	q.and = true
	q.add("("+condition+")", args...)
}

// whereDevice selects uploads or losses by what a person calls their device; see
// [names].
func (q *query) whereDevice(device string) {
	whole, domain, name := names(device)
	if name == "" {
		q.where(uploadByName, whole, asTyped(device))
		return
	}
	q.where(uploadByName+" OR "+uploadByBoth, whole, asTyped(device), name, domain)
}

// names reads what a person calls a device: a name, which may hold a slash or be
// escaped, or DOMAIN/name. domain and name are empty if there is no slash.
func names(s string) (whole, domain, name string) {
	_, whole = keys(uploads.Device{Name: s})
	if d, n, ok := strings.Cut(s, "/"); ok && n != "" {
		domain, name = keys(uploads.Device{Domain: d, Name: n})
	}
	return whole, domain, name
}

// limit returns how many rows to return.
func limit(n int) int {
	if n <= 0 {
		return DefaultLimit
	}
	return min(n, MaxLimit)
}

// A row is one row being read.
type row interface{ Scan(...any) error }

// read runs q and scans each of its rows.
func read[T any](ctx context.Context, c *Catalogue, q *query, scan func(row) (T, error)) ([]T, error) {
	out := []T{} // a list in JSON, even if empty
	err := c.view(ctx, func(db *sql.DB) error {
		rows, err := db.QueryContext(ctx, q.text.String(), q.args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			v, err := scan(rows)
			if err != nil {
				return err
			}
			out = append(out, v)
		}
		return rows.Err()
	})
	return out, err
}

// view lends the readers. Damage that they find has the file replaced.
func (c *Catalogue) view(ctx context.Context, f func(*sql.DB) error) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.store == nil {
		return uploads.ErrClosed
	}
	err := f(c.store.r)
	if damaged(err) {
		select {
		case c.suspect <- err:
			c.rouse()
		default:
		}
	}
	return err
}
