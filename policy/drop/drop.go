// Package drop publishes what administrators put into a folder.
package drop

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"inventorybeacon/policy/revision"
)

// Options say how a folder is watched. The zero value is usable.
type Options struct {
	Log *slog.Logger
	// Settle is how long an entry must have been still before it is read.
	// Shorter publishes sooner; longer forgives a slower copy. Default 2 s.
	Settle time.Duration
	// Wait is how long a folder may lack files it names. Default 60 s.
	Wait time.Duration
	// Rescan is how often the folder is looked at without any hint. Default 30 s.
	Rescan time.Duration
}

// A Folder is a drop folder.
type Folder struct{}

// Open makes dir, with done and rejected in it, where missing.
func Open(dir string, store *revision.Store, o Options) (*Folder, error) {
	return nil, errors.ErrUnsupported
}

// Run watches until ctx is done, and returns its error.
func (f *Folder) Run(ctx context.Context) error { return errors.ErrUnsupported }
