// Package spool keeps uploads on disk between the sender, who gets a receipt
// once they are durable, and the relay, which takes them on.
package spool

import (
	"context"
	"io"
	"iter"
	"time"

	"inventorybeacon/uploads"
)

// A Spool is a directory of accepted uploads. One process owns it.
// All methods may be called by several goroutines at once.
type Spool struct{}

// Open opens the spool in dir, or makes one, and replays its journal.
func Open(dir string, o Options) (*Spool, error) { return nil, uploads.ErrClosed }

// Recovery tells what Open found.
func (s *Spool) Recovery() Recovery { return Recovery{} }

// A Draft is what the sender says of an upload before its body is read.
type Draft struct {
	Kind    string // canonical folder name
	Name    uploads.Name
	Device  uploads.Device
	AgentID string
	Peer    string
	Via     []string
	// Length is the declared size of the body; -1 means unknown.
	Length int64
	// MaxBytes bounds the body; 0 means no bound.
	MaxBytes int64
	// Want is the digest the sender announced, or nil.
	Want      *uploads.Digest
	Modified  time.Time
	Recovered bool
}

// Accept stores a body and returns its receipt when it is durable.
func (s *Spool) Accept(ctx context.Context, d Draft, body io.Reader) (uploads.Receipt, error) {
	return uploads.Receipt{}, uploads.ErrClosed
}

// Find returns the receipt of the newest file of that name that is held or was delivered.
func (s *Spool) Find(kind string, name uploads.Name) (uploads.Receipt, bool) {
	return uploads.Receipt{}, false
}

// FindExact returns the receipt for exactly these bytes under that name.
func (s *Spool) FindExact(kind string, name uploads.Name, d uploads.Digest) (uploads.Receipt, bool) {
	return uploads.Receipt{}, false
}

// Pending returns up to limit files that the sink has not got, with Seq above
// after, in ascending order.
func (s *Spool) Pending(sink string, after uint64, limit int) []uploads.Upload { return nil }

// Body opens the bytes of a held file, which are verified first. If it has left
// the spool, or turns out to be damaged (which is then a recorded loss), the
// error matches [uploads.ErrUnknown].
func (s *Spool) Body(seq uint64) (uploads.Body, error) { return nil, uploads.ErrUnknown }

// Deliver records that a sink has files; it is durable on return. Marks for
// files that left are ignored.
func (s *Spool) Deliver(sink string, marks []Mark) error { return uploads.ErrClosed }

// Lose takes a file out of the spool for a reason other than delivery, one of
// the Loss constants; the loss is durable on return. A file that already left
// gives [uploads.ErrUnknown].
func (s *Spool) Lose(seq uint64, reason, detail string) error { return uploads.ErrClosed }

// Added returns a channel that gets a token whenever something may have become
// pending for the sink.
func (s *Spool) Added(sink string) <-chan struct{} { return nil }

// Expire gives up what is older than Options.MaxAge allows.
func (s *Spool) Expire(now time.Time) error { return nil }

// Ready waits until n segments are spare. It is for benchmarks and tests.
func (s *Spool) Ready(ctx context.Context, n int) error { return nil }

// Free returns the bytes uploads can still take: free disk and free segments.
func (s *Spool) Free() (int64, error) { return 0, nil }

// Stats returns the numbers of this instant.
func (s *Spool) Stats() Stats { return Stats{} }

// Events returns everything the journal and the receipts know with a Seq above
// after, in the order of Seq. It may run while uploads go on.
func (s *Spool) Events(after uint64) iter.Seq2[Event, error] {
	return func(func(Event, error) bool) {}
}

// Close waits for uploads in progress, refuses new ones and closes the journal.
func (s *Spool) Close() error { return nil }
