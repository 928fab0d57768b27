// Package directory delivers uploads as plain files, as the incumbent's
// importers expect them:
//
//	<dir>/Incoming/<Kind>/<file>
//	<dir>/.partial/               files being written, invisible to importers
//
// A visible file is complete and durable. No file is ever overwritten: if other
// bytes have the name, or one that differs from it only in case, the file goes
// beside them as <stem>.<first 8 digits of its sha256>.<ext>. A file that is
// found with the same bytes under either name is this delivery; that none is
// found says nothing, since an importer may have taken it.
package directory

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/durablefile"
)

// Options say how a sink works.
type Options struct {
	// MaxFiles and MaxBytes bound what waits for the importer: from there on the
	// sink pauses, up to a few groups late. 0 means no bound. Lower ones keep a disk free that others use too;
	// higher ones let the importer be away for longer without filling our spool.
	MaxFiles int
	MaxBytes int64
	// Group is how many files are written before they are synced together; 0
	// means DefaultGroup. More amortise the syncs better, but are repeated together if the
	// process dies before the mark.
	Group int
	// Identity is the beacon's, for the custody it reports.
	Identity string
	// Log defaults to discarding.
	Log *slog.Logger
}

// DefaultGroup amortises the syncs of a group nearly as well as any larger one.
const DefaultGroup = 64

// pause is how long a sink that found too much waiting wants to be left alone.
// A shorter one notices the importer sooner and lists the folders more often.
const pause = 15 * time.Second

const (
	incoming = "Incoming"
	partial  = ".partial"
)

// A Sink writes uploads into a directory. One process owns the directory's
// .partial folder.
type Sink struct {
	dir string
	o   Options

	in   sync.RWMutex // held for reading while root is in use
	root *os.Root

	mu      sync.Mutex // held while names are chosen and taken
	folders map[string]*folder
}

var _ uploads.Sink = (*Sink)(nil)

// Open opens the sink in dir, which it makes if need be, and removes what an
// interrupted delivery left.
func Open(dir string, o Options) (*Sink, error) {
	if o.Group <= 0 {
		o.Group = DefaultGroup
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := durablefile.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make relay directory: %w", err)
	}
	s := &Sink{dir: dir, o: o}
	if err := s.enter(); err != nil {
		return nil, err
	}
	return s, nil
}

// enter opens what the sink's path leads to now.
func (s *Sink) enter() error {
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return fmt.Errorf("open relay directory: %w", err)
	}
	if err := s.prepare(root); err != nil {
		root.Close()
		return fmt.Errorf("open relay directory %s: %w", s.dir, err)
	}
	s.root, s.folders = root, map[string]*folder{}
	return nil
}

func (s *Sink) prepare(root *os.Root) error {
	for _, dir := range []string{incoming, partial} {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	n, err := durablefile.Sweep(root, partial)
	if n > 0 {
		s.o.Log.Info("swept unfinished deliveries", slog.Int("files", n))
	}
	// Folders that a process made that was killed at once are synced, too.
	return errors.Join(err, durablefile.SyncDir(root, incoming), durablefile.SyncDir(root, "."))
}

// follow enters the directory again if another one has taken its place, as when
// somebody moved it away or mounted something there. It makes none: where there
// is nothing, a mount may be missing.
func (s *Sink) follow() error {
	s.in.RLock()
	replaced, err := s.replaced()
	s.in.RUnlock()
	if err != nil || !replaced {
		return err
	}
	s.in.Lock()
	defer s.in.Unlock()
	if replaced, err = s.replaced(); err != nil || !replaced { // by now, somebody else may have been here
		return err
	}
	old := s.root
	if err := s.enter(); err != nil {
		return err
	}
	s.o.Log.Warn("relay directory was replaced; going on in the new one", slog.String("path", s.dir))
	return old.Close()
}

func (s *Sink) replaced() (bool, error) {
	there, err := os.Stat(s.dir)
	if err != nil {
		return false, fmt.Errorf("relay directory: %w", err)
	}
	here, err := s.root.Stat(".")
	return err != nil || !os.SameFile(here, there), nil
}

// Close releases the directory.
func (s *Sink) Close() error { return s.root.Close() }

// Group implements [uploads.Sink].
func (s *Sink) Group() int { return s.o.Group }

// A draft is a parcel on its way to its name.
type draft struct {
	uploads.Parcel
	temp string // its name in .partial, until it has its own
	err  error
}

// Deliver implements [uploads.Sink]: temporary files, one wait for their syncs,
// their names, one directory sync per folder.
func (s *Sink) Deliver(ctx context.Context, parcels []uploads.Parcel) []uploads.Delivery {
	drafts := make([]*draft, len(parcels))
	for i, p := range parcels {
		drafts[i] = &draft{Parcel: p}
	}
	if err := s.follow(); err != nil {
		return s.deliveries(drafts, err)
	}
	s.in.RLock()
	defer s.in.RUnlock()
	if err := errors.Join(s.room(), s.make(partial)); err != nil {
		return s.deliveries(drafts, err)
	}
	in, err := s.root.OpenRoot(partial)
	if err != nil {
		return s.deliveries(drafts, err)
	}
	defer in.Close()
	write(ctx, in, drafts)
	s.publish(drafts)
	for _, d := range drafts {
		if d.temp != "" {
			in.Remove(d.temp) // unwanted; a leftover is swept at the next start
		}
	}
	return s.deliveries(drafts, nil)
}

func (s *Sink) deliveries(drafts []*draft, err error) []uploads.Delivery {
	at := time.Now().UTC().Truncate(time.Millisecond)
	out := make([]uploads.Delivery, len(drafts))
	for i, d := range drafts {
		if out[i].Err = errors.Join(err, d.err); out[i].Err == nil {
			out[i].Custody = []uploads.Custody{{Level: uploads.LevelStore, Beacon: s.o.Identity, At: at}}
		}
	}
	return out
}

// room reports, as a wish to be left alone, that too much waits already.
func (s *Sink) room() error {
	if s.o.MaxFiles <= 0 && s.o.MaxBytes <= 0 {
		return nil
	}
	files, size, err := s.waiting(false)
	if err == nil && s.above(files, size) {
		files, size, err = s.waiting(true) // an importer may have been too quick for us
	}
	switch {
	case err != nil:
		return fmt.Errorf("look what waits for the importer: %w", err)
	case !s.above(files, size):
		return nil
	}
	return &uploads.RetryError{After: pause, Err: fmt.Errorf(
		"%d files (%d bytes) wait in %s: is the importer running?", files, size, s.path(incoming))}
}

func (s *Sink) above(files int, size int64) bool {
	return s.o.MaxFiles > 0 && files >= s.o.MaxFiles || s.o.MaxBytes > 0 && size >= s.o.MaxBytes
}

func (s *Sink) path(name string) string { return path.Join(s.root.Name(), name) }

// write makes the temporary files, all of them before the first sync, so that a
// journalling file system commits them together: the syncs, which run side by
// side, wait for the same commit. (A syncfs would be one call, but it also waits
// for everything else that is dirty on that file system, such as an importer's
// database, and takes other people's errors for ours or swallows them.)
func write(ctx context.Context, in *os.Root, drafts []*draft) {
	files := make([]*os.File, len(drafts))
	for i, d := range drafts {
		if d.err = ctx.Err(); d.err == nil {
			files[i], d.err = fill(in, d)
		}
	}
	var syncs sync.WaitGroup
	for i, d := range drafts {
		if f := files[i]; f != nil {
			syncs.Go(func() { d.err = errors.Join(f.Sync(), f.Close()) })
		}
	}
	syncs.Wait()
}

// buffers are large enough that most files are one write.
var buffers = sync.Pool{New: func() any { return new([128 << 10]byte) }}

// fill writes one temporary file, of verified bytes.
func fill(in *os.Root, d *draft) (*os.File, error) {
	body, err := d.Open()
	if err != nil {
		return nil, fmt.Errorf("open upload %d: %w", d.Seq, err)
	}
	defer body.Close()
	temp := "." + rand.Text() + durablefile.TempSuffix
	f, err := in.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	d.temp = temp
	buffer := buffers.Get().(*[128 << 10]byte)
	defer buffers.Put(buffer)
	if _, err := io.CopyBuffer(struct{ io.Writer }{f}, uploads.Verify(body, d.Size, d.Digest), buffer[:]); err != nil {
		f.Close()
		return nil, fmt.Errorf("write %s: %w", d.Name, err)
	}
	startWriteback(f)
	return f, nil
}

// publish gives the files their names and syncs the folders they are in.
func (s *Sink) publish(drafts []*draft) {
	s.mu.Lock()
	defer s.mu.Unlock()
	byKind := map[string][]*draft{}
	for _, d := range drafts {
		if d.err == nil {
			byKind[d.Kind] = append(byKind[d.Kind], d)
		}
	}
	for kind, ds := range byKind {
		err := s.publishKind(kind, ds)
		for _, d := range ds {
			if d.err == nil && err != nil {
				d.err = fmt.Errorf("deliver to %s: %w", s.path(path.Join(incoming, kind)), err)
			}
		}
	}
}

func (s *Sink) publishKind(kind string, drafts []*draft) error {
	f, err := s.folder(kind)
	if err != nil {
		return err
	}
	if f.way, err = openPassage(s.root, partial, f.dir); err != nil {
		return err
	}
	for _, d := range drafts {
		d.err = f.place(d)
	}
	if err := f.way.close(); err != nil {
		return err
	}
	if err := durablefile.SyncDir(s.root, f.dir); err != nil {
		return err
	}
	f.looked()
	return nil
}

// names returns the names a file may get, in order of preference. The last one
// is as good as certain to be free of other bytes.
func names(n uploads.Name, d uploads.Digest) []string {
	marked := func(digits int) string { return n.Stem() + "." + d.String()[:digits] + n.Suffix() }
	return []string{n.String(), marked(8), marked(32)}
}

// key is what names that Windows takes for the same have in common.
func key(name string) string { return strings.ToLower(name) }
