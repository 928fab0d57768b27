package catalogue

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"inventorybeacon/uploads"
)

// A batch is one transaction of the writer, with its statements prepared once.
type batch struct {
	ctx   context.Context
	tx    *sql.Tx
	stmts map[string]*sql.Stmt
}

// write runs f in one transaction. The caller holds c.writing.
func (c *Catalogue) write(ctx context.Context, f func(*batch) error) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.store == nil {
		return uploads.ErrClosed
	}
	tx, err := c.store.w.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // closes the statements too
	if err := f(&batch{ctx: ctx, tx: tx, stmts: map[string]*sql.Stmt{}}); err != nil {
		return err
	}
	return tx.Commit()
}

func (b *batch) stmt(query string) (*sql.Stmt, error) {
	if s, ok := b.stmts[query]; ok {
		return s, nil
	}
	s, err := b.tx.PrepareContext(b.ctx, query)
	if err == nil {
		b.stmts[query] = s
	}
	return s, err
}

// exec runs a statement and returns how many rows it changed.
func (b *batch) exec(query string, args ...any) (int64, error) {
	s, err := b.stmt(query)
	if err != nil {
		return 0, err
	}
	res, err := s.ExecContext(b.ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// get scans the first row and reports whether there is one.
func (b *batch) get(query string, args []any, dest ...any) (bool, error) {
	s, err := b.stmt(query)
	if err != nil {
		return false, err
	}
	switch err := s.QueryRowContext(b.ctx, args...).Scan(dest...); err {
	case nil:
		return true, nil
	case sql.ErrNoRows:
		return false, nil
	default:
		return false, err
	}
}

// count adds n to a number that is kept with the rows.
func (b *batch) count(key string, n int) error {
	_, err := b.exec(`INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = value + excluded.value`, key, n)
	return err
}

// millis is how a time is stored.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// list is how a list is stored: JSON, or nothing if it is empty.
func list[T any](v []T) (string, error) {
	if len(v) == 0 {
		return "", nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}

func fromList[T any](s string) (v []T, err error) {
	if s == "" {
		return nil, nil
	}
	return v, json.Unmarshal([]byte(s), &v)
}
