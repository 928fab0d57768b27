// Package revision keeps the published revisions of a beacon's policy.
package revision

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"inventorybeacon/policy"
	"inventorybeacon/policy/bundle"
)

// Options say how a store behaves. The zero value is usable.
type Options struct {
	Log *slog.Logger
	// ReadOnly opens the store without its lock, for looking only.
	ReadOnly bool
}

// A Store holds every revision; see Open.
type Store struct{}

// Open opens the store in dir (made if missing) and puts the last whole
// revision in force. One process owns a store.
func Open(dir string, o Options) (*Store, error) { return nil, errors.ErrUnsupported }

// Close releases the store. Snapshots taken from it stay usable but for files not kept in memory.
func (s *Store) Close() error { return nil }

// Current returns what is in force; never nil, and it costs one atomic load.
func (s *Store) Current() *Snapshot { return nil }

// A Result says what a publication did.
type Result struct {
	Revision policy.Revision
	Changed  bool     // false: equal to what was in force, no revision was made
	Warnings []string // what was taken but does not do what one may expect
}

// Publish replaces the bundle of b's name. b is read to its end and checked
// again before anything becomes visible.
func (s *Store) Publish(ctx context.Context, b *bundle.Bundle, by, comment string) (Result, error) {
	return Result{}, errors.ErrUnsupported
}

// Withdraw removes the bundle of that name.
func (s *Store) Withdraw(ctx context.Context, name, by, comment string) (Result, error) {
	return Result{}, errors.ErrUnsupported
}

// History returns the revisions kept, newest first.
func (s *Store) History() []policy.Revision { return nil }

// Export writes the revision in force with all its objects as a tar stream.
func (s *Store) Export(ctx context.Context, w io.Writer) error { return errors.ErrUnsupported }

// Import takes what Export wrote, verifies it and puts it in force; the store
// is a mirror of that publisher from then on.
func (s *Store) Import(ctx context.Context, r io.Reader) (Result, error) {
	return Result{}, errors.ErrUnsupported
}

// Mirrors returns the publisher that this store follows, "" if it publishes itself.
func (s *Store) Mirrors() string { return "" }

// A Snapshot is one revision in force: immutable, safe for any number of readers.
type Snapshot struct{}

// Revision says which one it is.
func (s *Snapshot) Revision() policy.Revision { return policy.Revision{} }

// Policy returns the .npl of a device, or policy.ErrNone.
func (s *Snapshot) Policy(q policy.Query) (*Object, error) { return nil, policy.ErrNone }

// File returns what is published at path, which is below the download root,
// percent-decoded once, without a leading slash; any case. policy.ErrNoFile if nothing is.
func (s *Snapshot) File(path string) (*Object, error) { return nil, policy.ErrNoFile }

// Effective says what applies to a device, and which bundles say so.
func (s *Snapshot) Effective(q policy.Query) (policy.Effective, error) {
	return policy.Effective{}, policy.ErrNone
}

// Bundles returns the bundles in force by name.
func (s *Snapshot) Bundles() []policy.Bundle { return nil }

// A Variant is an object's bytes in one content coding; a variant is a
// representation of its own and so has a digest of its own.
type Variant struct {
	Body   []byte
	Digest [32]byte
	ETag   string
}

// An Object is what one GET answers.
type Object struct {
	Digest      [32]byte
	ETag        string // quoted, strong: "<first 32 hex digits>"
	Size        int64
	Modified    time.Time // whole seconds, UTC
	ContentType string
	Immutable   bool // the name carries the digest
	Private     bool // of one device
	// ByAddress means that the address of the device decides what it is told:
	// If-Modified-Since alone must not be answered 304.
	ByAddress  bool
	Body       []byte   // nil for a large file: use Open
	Gzip, Zstd *Variant // nil where coding gains nothing
}

// Open returns the bytes of o.
func (o *Object) Open() (io.ReadSeekCloser, error) { return nil, errors.ErrUnsupported }
