package desk

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/archive"
)

// An Import names a file on the beacon's own machine: an archive, or the
// acknowledgement of one.
type Import struct {
	Path string `json:"path"` // absolute
	// Key is the public key of whoever made it, 32 bytes; nil takes the one that the
	// file itself names.
	Key []byte `json:"key"`
	// Config is the configuration file of a beacon that does not run.
	Config string `json:"config"`
}

// The stages of an import.
const (
	ImportChecked = "checked" // as a whole it is as it was signed
	ImportRefused = "refused" // one file of it
	ImportAck     = "ack"     // a line of the acknowledgement
	ImportDone    = "done"
	ImportFailed  = "failed"
)

// An ImportStep says how far it is.
type ImportStep struct {
	Stage string `json:"stage"` // empty: only how far
	// Done of Of are dealt with.
	Done int `json:"done"`
	Of   int `json:"of"`
	// Refused is a file that was not taken.
	Refused *RefusedFile `json:"refused,omitempty"`
	// Line is one of the acknowledgement, which whoever asked puts together.
	Line []byte `json:"line,omitempty"`
	// Error is why it failed after it had begun.
	Error string `json:"error,omitempty"`
	// Imported is what came of it, at the end.
	Imported *Imported `json:"imported,omitempty"`
}

// A RefusedFile is one of an archive that was not taken, and where it is.
type RefusedFile struct {
	Place string `json:"place"`
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	Why   string `json:"why"`
}

// Imported is what came of an import.
type Imported struct {
	From  string `json:"from"`
	Files int    `json:"files"`
	// Of an archive.
	New       int           `json:"new"`
	NewBytes  int64         `json:"new_bytes"`
	Duplicate int           `json:"duplicate"`
	Refused   []RefusedFile `json:"refused"`
	// Of an acknowledgement: how many files are delivered by it, and how many had
	// left before.
	Acknowledgement bool `json:"acknowledgement,omitempty"`
	Delivered       int  `json:"delivered,omitempty"`
	Gone            int  `json:"gone,omitempty"`
}

// ImportUploads takes the files of an archive as if its exporter had sent them,
// or an acknowledgement. The answer is a JSON [ImportStep] a line; it is complete if
// the last one is of [ImportDone]. It may be repeated at any time.
var ImportUploads = Stream[Import]{"uploads.import", (*Desk).importUploads}

func (d *Desk) importUploads(ctx context.Context, in Import, w io.Writer) error {
	id, err := d.identity(in.Config)
	if err != nil {
		return err
	}
	f, err := os.Open(in.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	said := &told{w: w, last: time.Now()}
	ack, err := archive.IsAck(f)
	if err == nil && ack {
		err = d.importAck(ctx, f, in, id, said)
	} else if err == nil {
		err = d.importArchive(ctx, f, in, id, said)
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", in.Path, carried(err))
	if said.any {
		said.say(ImportStep{Stage: ImportFailed, Error: err.Error()}, true) // whoever asked may be gone
	}
	return err
}

// carried adds to an error what can be done about it.
func carried(err error) error {
	switch {
	case errors.Is(err, archive.ErrKey):
		return fmt.Errorf("%w: give the file keys/beacon.pub of the beacon that made it with --key", err)
	case errors.Is(err, archive.ErrBroken):
		return fmt.Errorf("%w: nothing of it was used: copy it again, or have it made anew", err)
	case errors.Is(err, uploads.ErrFull):
		return fmt.Errorf("%w: what was taken stays: import it again once there is room", err)
	}
	return err
}

func (in Import) trusted() ed25519.PublicKey {
	if len(in.Key) == 0 {
		return nil
	}
	return in.Key
}

var errOwn = errors.New("this very beacon made it: take it to another one")

func (d *Desk) importArchive(ctx context.Context, f io.ReadSeeker, in Import, id Identity, said *told) error {
	a, err := archive.Open(f, in.trusted())
	if err != nil {
		return err
	}
	if a.Header.Beacon == id.Name {
		return errOwn
	}
	key, err := d.signer()
	if err != nil {
		return err
	}
	if err := said.say(ImportStep{Stage: ImportChecked, Of: a.Manifest.Files}, true); err != nil {
		return err
	}
	i := &importer{desk: d, id: id, from: a.Header.Beacon, known: in.trusted() != nil, said: said, of: a.Manifest.Files}
	i.out.From, i.out.Files, i.out.Refused = a.Header.Beacon, a.Manifest.Files, []RefusedFile{}
	if i.spool, err = d.spool(); err != nil {
		return err
	}
	i.ack, err = archive.NewAck(ackLines{said}, archive.Header{
		Beacon: id.Name, Key: key.Public(), Created: time.Now().UTC(), Sink: a.Header.Sink, From: a.Header.Beacon, Archive: &a.Manifest.SHA256,
	}, key.Sign)
	if err == nil {
		err = i.run(ctx, a)
	}
	if err == nil {
		err = i.ack.Close()
	}
	if err != nil {
		return err
	}
	return said.say(ImportStep{Stage: ImportDone, Done: i.done, Of: i.of, Imported: &i.out}, true)
}

// ackLines tells the lines of an acknowledgement.
type ackLines struct{ said *told }

func (a ackLines) Write(line []byte) (int, error) {
	return len(line), a.said.say(ImportStep{Stage: ImportAck, Line: line}, false)
}
