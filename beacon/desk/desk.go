package desk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"inventorybeacon/beacon/config"
	"inventorybeacon/beacon/signing"
	"inventorybeacon/policy/revision"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
	"inventorybeacon/uploads/kept"
	"inventorybeacon/uploads/quarantine"
	"inventorybeacon/uploads/spool"
)

// A Desk has the parts of a beacon that an operator's calls need. A stopped
// beacon's are opened when a call first needs them.
type Desk struct {
	data      string     // its directory
	expecting sync.Mutex // held while the list of expected devices changes
	policies  func() (*revision.Store, error)
	// catalogue returns the index once it knows what happened before the call.
	catalogue func(context.Context) (*catalogue.Catalogue, error)
	spool     func() (*spool.Spool, error)
	refused   func() (*quarantine.Store, error)
	kept      func() (*kept.Store, error)
	signer    func() (*signing.Key, error)
	status    func(context.Context) (Status, error)
	// requeue is nil where nothing is relayed.
	requeue func(sink string, pick func(uploads.Upload) bool) (int, error)
	// identity takes the configuration file of a stopped beacon.
	identity func(file string) (Identity, error)
	// deliver and room are nil where nothing runs; see [Parts].
	deliver func(sink string, marks []spool.Mark) error
	room    func(kind string, bytes int64) error
	index   *catalogue.Catalogue // a stopped beacon's, once it is open
	closers []func() error
}

// Parts are a running beacon's.
type Parts struct {
	// Data is the beacon's directory.
	Data      string
	Policies  *revision.Store
	Catalogue *catalogue.Catalogue
	Spool     *spool.Spool
	Refused   *quarantine.Store
	Kept      *kept.Store
	Signer    *signing.Key
	// Status answers how the beacon is, but for what the catalogue counts.
	Status func(context.Context) (Status, error)
	// Requeue offers again what destinations set aside or deferred.
	Requeue func(sink string, pick func(uploads.Upload) bool) (int, error)
	// Identity is the beacon's.
	Identity Identity
	// Deliver records that files reached a destination without its relay.
	Deliver func(sink string, marks []spool.Mark) error
	// Room says why there is none for a file now, or nil.
	Room func(kind string, bytes int64) error
}

// New returns the desk of a running beacon.
func New(p Parts) *Desk {
	return &Desk{
		data:      p.Data,
		policies:  func() (*revision.Store, error) { return p.Policies, nil },
		catalogue: func(ctx context.Context) (*catalogue.Catalogue, error) { return p.Catalogue, p.Catalogue.Sync(ctx) },
		spool:     func() (*spool.Spool, error) { return p.Spool, nil },
		refused:   func() (*quarantine.Store, error) { return p.Refused, nil },
		kept:      func() (*kept.Store, error) { return p.Kept, nil },
		signer:    func() (*signing.Key, error) { return p.Signer, nil },
		status:    p.Status,
		requeue:   p.Requeue,
		identity:  func(string) (Identity, error) { return p.Identity, nil },
		deliver:   p.Deliver,
		room:      p.Room,
	}
}

// ErrNoData means that the directory is no beacon's data directory.
var ErrNoData = errors.New("no beacon's data directory; name one with --data")

func openStopped(dir string) (*Desk, error) {
	if _, err := os.Stat(filepath.Join(dir, config.SpoolDir)); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoData)
	}
	d := &Desk{data: dir}
	log := slog.New(slog.DiscardHandler)
	d.policies = sync.OnceValues(func() (*revision.Store, error) {
		s, err := revision.Open(filepath.Join(dir, config.PolicyDir), revision.Options{Log: log})
		if err == nil {
			d.closers = append(d.closers, s.Close)
		}
		return s, err
	})
	d.spool = sync.OnceValues(func() (*spool.Spool, error) {
		s, err := spool.Open(filepath.Join(dir, config.SpoolDir), spool.Options{Log: log, Spares: -1, Horizon: catalogue.Forever})
		if err == nil {
			d.closers = append(d.closers, s.Close)
		}
		return s, err
	})
	d.refused = sync.OnceValues(func() (*quarantine.Store, error) {
		q, err := quarantine.Open(filepath.Join(dir, config.QuarantineDir), quarantine.Options{})
		if err == nil {
			d.closers = append(d.closers, q.Close)
		}
		return q, err
	})
	d.kept = sync.OnceValues(func() (*kept.Store, error) {
		k, err := kept.Open(filepath.Join(dir, config.KeptDir), kept.Options{})
		if err == nil {
			d.closers = append(d.closers, k.Close)
		}
		return k, err
	})
	d.identity = func(file string) (Identity, error) { return stoppedIdentity(dir, file) }
	d.signer = func() (*signing.Key, error) { return signing.Open(filepath.Join(dir, config.KeysDir), log) }
	d.catalogue = func(ctx context.Context) (*catalogue.Catalogue, error) {
		if d.index != nil {
			return d.index, nil
		}
		s, err := d.spool()
		if err != nil {
			return nil, err
		}
		c, err := catalogue.Open(ctx, filepath.Join(dir, config.CatalogueFile), catalogue.Options{Horizon: catalogue.Forever, Log: log})
		if err != nil {
			return nil, err
		}
		d.index, d.closers = c, append(d.closers, c.Close)
		return c, c.CatchUp(ctx, s)
	}
	d.status = d.stopped
	return d, nil
}

func (d *Desk) close() error {
	var errs []error
	for _, c := range slices.Backward(d.closers) {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// splitDevice reads DOMAIN/name or name.
func splitDevice(s string) (domain, name string) {
	if domain, name, ok := strings.Cut(s, "/"); ok {
		return domain, name
	}
	return "", s
}
