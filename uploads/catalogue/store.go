package catalogue

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// applicationID marks the file as ours: "BCat".
const applicationID = 0x42436174

// readers is how many queries run at once. Each takes a few MiB of cache while
// it runs; with fewer, one long listing holds up the others.
const readers = 3

// checkedPages is the largest file, in pages of 4 KiB, that is read through when
// it is opened. A larger bound finds damage before somebody's query does; a
// smaller one opens sooner (64 MiB take about a tenth of a second).
const checkedPages = 16 << 10

//go:embed migrations/*.sql
var migrations embed.FS

func init() {
	// Without this, POSIX would drop SQLite's locks whenever anything in this
	// process closed the file. Where there are no such locks nothing changes.
	_, _ = sqlite.OFDLocking(true)
}

// A store is the open file.
type store struct {
	w *sql.DB // one connection
	r *sql.DB // a few that cannot write
}

// openStore opens the file, makes it if there is none and brings it up to date.
func openStore(ctx context.Context, file string) (*store, error) {
	if err := inspect(ctx, file); err != nil {
		return nil, err
	}
	w, err := open(file, "rwc", "_txlock=immediate",
		// WAL with NORMAL never damages the file; a power cut takes back the last
		// batches, position included, and they are read from the journal again.
		"_pragma=journal_mode(WAL)", "_pragma=synchronous(NORMAL)", "_pragma=journal_size_limit(16777216)")
	if err != nil {
		return nil, err
	}
	w.SetMaxOpenConns(1)
	if err := migrate(ctx, w); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	r, err := open(file, "ro", "_pragma=query_only(1)")
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	r.SetMaxOpenConns(readers)
	return &store{w: w, r: r}, nil
}

func open(file, mode string, params ...string) (*sql.DB, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	p := filepath.ToSlash(abs)
	if !strings.HasPrefix(p, "/") {
		p = "/" + p // a Windows drive
	}
	params = append(params, "mode="+mode, "_defensive=1", "_pragma=busy_timeout(5000)", "_pragma=trusted_schema(0)",
		"_pragma=cache_size(-4096)", "_pragma=temp_store(MEMORY)")
	// Only a file: URL is sure to have its mode obeyed.
	u := url.URL{Scheme: "file", Path: p, RawQuery: strings.Join(params, "&")}
	return sql.Open("sqlite", u.String())
}

// close writes what is in the log into the file and closes it.
func (s *store) close() error { return errors.Join(s.r.Close(), s.w.Close()) }

// inspect looks at a file that is already there without changing it.
func inspect(ctx context.Context, file string) error {
	switch fi, err := os.Stat(file); {
	case errors.Is(err, fs.ErrNotExist), err == nil && fi.Size() == 0:
		return nil
	case err != nil:
		return err
	case !fi.Mode().IsRegular():
		return fmt.Errorf("%w: %s is not a file", ErrForeign, file)
	}
	var params []string
	if fi, err := os.Stat(file + "-wal"); err != nil || fi.Size() == 0 {
		params = []string{"immutable=1"} // there is no log to read: do not make one
	}
	db, err := open(file, "ro", params...)
	if err != nil {
		return err
	}
	defer db.Close()
	var id, version, pages, tables int
	const look = `SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),
		(SELECT page_count FROM pragma_page_count), (SELECT count(*) FROM sqlite_schema)`
	if err := db.QueryRowContext(ctx, look).Scan(&id, &version, &pages, &tables); err != nil {
		return err
	}
	switch {
	case id != applicationID && (id != 0 || version != 0 || tables != 0):
		return fmt.Errorf("%w: %s", ErrForeign, file)
	case version > latest():
		return fmt.Errorf("%w: %s has format %d, known is %d: run the program that wrote it, or move the file away to have it made again", ErrNewer, file, version, latest())
	case pages > checkedPages:
		return nil
	}
	return check(ctx, db)
}

func check(ctx context.Context, db *sql.DB) error {
	var word string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&word); err != nil {
		return err
	}
	if word != "ok" {
		return fmt.Errorf("%w: %s", errDamaged, word)
	}
	return nil
}

// latest is the format this program writes: the number of the last migration.
func latest() int {
	names, _ := fs.Glob(migrations, "migrations/*.sql") // the pattern is fine
	return len(names)
}

// migrate applies what is missing, each step in a transaction of its own.
func migrate(ctx context.Context, db *sql.DB) error {
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	for n := version + 1; n <= latest(); n++ {
		if err := step(ctx, db, n); err != nil {
			return fmt.Errorf("bring the catalogue to format %d: %w", n, err)
		}
	}
	return nil
}

func step(ctx context.Context, db *sql.DB, n int) error {
	script, err := migrations.ReadFile(fmt.Sprintf("migrations/%04d.sql", n))
	if err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, string(script)); err != nil {
		return err
	}
	// Pragmas take no parameters; both values are numbers of ours.
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version=%d; PRAGMA application_id=%d", n, applicationID)); err != nil {
		return err
	}
	return tx.Commit()
}

// errDamaged means that the file's pages contradict each other.
var errDamaged = errors.New("catalogue is damaged")

// damaged reports whether err says that the file is not, or no longer, a sound
// database.
func damaged(err error) bool {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return true
		}
	}
	return errors.Is(err, errDamaged)
}

// setAside renames a damaged file, in place of the one before, so that somebody
// can look at it.
func setAside(file string) error {
	if err := os.Rename(file, file+".damaged"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(file + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
