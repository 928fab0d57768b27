package desk

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/archive"
	"inventorybeacon/uploads/parent/hop"
	"inventorybeacon/uploads/spool"
)

const (
	// importsAtOnce share a sync of the journal. More are faster on a slow disk; each
	// holds a small body in memory.
	importsAtOnce = 16
	// smallBody is held in memory, so that others can be read while it is stored;
	// a larger one goes from the archive straight into the spool.
	smallBody = 256 << 10
)

// An importer takes the files of an archive.
type importer struct {
	desk  *Desk
	id    Identity
	from  string
	known bool // its key was given
	spool *spool.Spool
	said  *told
	of    int

	mu   sync.Mutex
	ack  *archive.AckWriter
	done int
	out  Imported
}

func (i *importer) run(ctx context.Context, a *archive.Archive) error {
	stores, storing := errgroup.WithContext(ctx)
	stores.SetLimit(importsAtOnce)
	err := i.each(storing, a, stores)
	return cmp.Or(stores.Wait(), err, ctx.Err())
}

// each gives the files to stores until one of them fails, or ctx is done, which
// its caller tells.

func (i *importer) each(ctx context.Context, a *archive.Archive, stores *errgroup.Group) error {
	for f, err := range a.Files() {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		draft, err := i.draft(f.Entry)
		if err != nil {
			if err := i.refuse(f, err); err != nil {
				return err
			}
			continue
		}
		if f.Bytes > smallBody {
			if err := i.store(ctx, f, draft); err != nil {
				return err
			}
			continue
		}
		body, err := io.ReadAll(io.LimitReader(f.Body, f.Bytes+1))
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		f.Body = bytes.NewReader(body)
		stores.Go(func() error { return i.store(ctx, f, draft) })
	}
	return nil
}

// store puts a file into the spool and acknowledges it. The error is none of the
// file's own.
func (i *importer) store(ctx context.Context, f archive.File, d spool.Draft) error {
	if room := i.desk.room; room != nil {
		if err := room(d.Kind, d.Length); err != nil {
			return err
		}
	}
	r, err := i.spool.Accept(ctx, d, f.Body)
	switch {
	case err == nil && f.Flag != "":
		err = i.flag(d, r, f.Flag)
	case errors.Is(err, uploads.ErrDigest), errors.Is(err, uploads.ErrShort), errors.Is(err, uploads.ErrTooLarge), errors.Is(err, uploads.ErrBadName):
		return i.refuse(f, err)
	}
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.done++
	if r.Duplicate {
		i.out.Duplicate++
	} else {
		i.out.New++
		i.out.NewBytes += r.Bytes
	}
	if err := i.ack.Add(archive.Held{Seq: f.Seq, Receipt: r.ID}); err != nil {
		return err
	}
	return i.progress()
}

func (i *importer) progress() error {
	if !i.said.due(time.Now()) {
		return nil
	}
	return i.said.say(ImportStep{Done: i.done, Of: i.of}, true)
}

// flag marks a file as it was marked where it comes from, unless it has left.
func (i *importer) flag(d spool.Draft, r uploads.Receipt, words string) error {
	u, held := i.spool.HeldExact(d.Kind, d.Name, r.SHA256)
	if !held {
		return nil
	}
	if err := i.spool.Flag(u.Seq, words); err != nil && !errors.Is(err, uploads.ErrUnknown) {
		return err
	}
	return nil
}

// refuse tells of a file that is not taken.
func (i *importer) refuse(f archive.File, why error) error {
	no := RefusedFile{Place: f.Place, Kind: f.Kind, Name: f.Name, Why: why.Error()}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.done++
	i.out.Refused = append(i.out.Refused, no)
	return i.said.say(ImportStep{Stage: ImportRefused, Done: i.done, Of: i.of, Refused: &no}, true)
}

// draft is what a PUT by the exporter would say. Who accepted the file is this
// beacon, whose word a receipt's custody is; when it first arrived stays. That a
// person let it out of quarantine counts if it is known who says so.
func (i *importer) draft(e archive.Entry) (d spool.Draft, err error) {
	name, err := uploads.ParseName(e.Name)
	if err != nil {
		return d, err
	}
	kind, err := i.id.Kinds.For(e.Kind, name)
	if err != nil {
		return d, err
	}
	via := append(slices.Clone(e.Via), i.from)
	switch {
	case hop.Looped(via, i.id.Name):
		return d, fmt.Errorf("%w: it passed %q", uploads.ErrLoop, via)
	case e.Bytes < 0 || e.Received.IsZero():
		return d, errors.New("its size or time makes no sense")
	case kind.MaxBytes > 0 && e.Bytes > kind.MaxBytes:
		return d, fmt.Errorf("%w: %d bytes; %s may have %d", uploads.ErrTooLarge, e.Bytes, kind.Folder, kind.MaxBytes)
	}
	for _, s := range append(via, e.Device, e.Domain, e.Agent) {
		if len(s) > maxCarriedText || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
			return d, fmt.Errorf("%.80q is no name of a device, an agent or a beacon", s)
		}
	}
	return spool.Draft{
		Kind: kind.Folder, Name: name, Device: uploads.Device{Domain: e.Domain, Name: e.Device}, AgentID: e.Agent, Via: via,
		Length: e.Bytes, MaxBytes: kind.MaxBytes, Want: &e.SHA256, Modified: e.Modified, Recovered: e.Recovered, Released: e.Released && i.known,
		Received: earlier(e.Received, time.Now()), Beacon: i.id.Name,
	}, nil
}

// maxCarriedText bounds each text as a header of a PUT does.
const maxCarriedText = 255

// earlier keeps a clock that is ahead from dating files into the future.
func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
