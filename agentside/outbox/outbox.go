// Package outbox takes files out of the agent's outbox folder into its spool,
// from which they are sent.
//
// Anybody may put a file into outbox/<Kind>/: a collector of the customer's
// own as well as this agent. A file counts as complete when it was renamed in,
// or has been still for [Settle]. It is removed once the spool holds it
// durably; a crash in between sends it twice, under one receipt.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
)

const (
	// Settle is how long a file must have been still. A shorter one takes files
	// whose writer pauses; a longer one delays those that are done.
	Settle = 2 * time.Second
	// rescan is how often the folder is looked at whatever the notifications
	// say. A shorter one costs wake-ups; a longer one is how late a file is that
	// no notification told of.
	rescan = 30 * time.Second
)

// Spool is what the outbox needs of [spool.Spool].
type Spool interface {
	Accept(ctx context.Context, d spool.Draft, body io.Reader) (uploads.Receipt, error)
}

// Options say whose files these are.
type Options struct {
	Device  uploads.Device
	AgentID string
	Log     *slog.Logger
}

// Stuck is a file that stays in the folder, and why.
type Stuck struct {
	Kind   string `json:"kind"` // the folder as it is called
	File   string `json:"file"`
	Reason string `json:"reason"`
}

// An Outbox is the folder with the spool behind it. Its methods may be called
// from several goroutines.
type Outbox struct {
	o     Options
	root  *os.Root
	spool Spool
	kinds *uploads.Kinds

	scanning sync.Mutex // one scan at a time
	seen     map[string]sight

	mu    sync.Mutex // guards what the last scan found
	stuck []Stuck
	left  int // files it saw and did not take
}

// sight is what a file looked like, and since when.
type sight struct {
	size  int64
	mtime time.Time
	since time.Time
}

// Open opens the outbox in dir, which must exist, making a folder for each kind.
func Open(dir string, s Spool, o Options) (*Outbox, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	b := &Outbox{o: o, root: root, spool: s, kinds: uploads.DefaultKinds(), seen: map[string]sight{}}
	b.kinds.AcceptUnknown = true // a beacon may take more kinds than we know of
	for _, k := range b.kinds.All() {
		if err := root.Mkdir(k.Folder, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			root.Close()
			return nil, fmt.Errorf("outbox: %w", err)
		}
	}
	if err := b.putBack(); err != nil {
		root.Close()
		return nil, err
	}
	return b, nil
}

// Close closes the outbox; the spool is the caller's.
func (b *Outbox) Close() error { return b.root.Close() }

// Put spools a file of the agent's own.
func (b *Outbox) Put(ctx context.Context, kind string, name uploads.Name, written time.Time, size int64, body io.Reader) (uploads.Receipt, error) {
	return b.spool.Accept(ctx, b.draft(kind, name, written, size), body)
}

func (b *Outbox) draft(kind string, name uploads.Name, written time.Time, size int64) spool.Draft {
	return spool.Draft{Kind: kind, Name: name, Device: b.o.Device, AgentID: b.o.AgentID, Length: size, Modified: written}
}

// maxStuck bounds the list of files that cannot be sent: it is read by people.
const maxStuck = 100

// Stuck returns files that cannot be sent as they are, as the last scan saw
// them, at most 100.
func (b *Outbox) Stuck() []Stuck {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.stuck)
}

// Left returns how many files the last scan saw and left in the folder, be it
// that they are still being written or that they are stuck.
func (b *Outbox) Left() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.left
}

// Scan takes what is complete into the spool and reports how many files it
// took and how many are still settling. Its error is the folder's or the
// spool's, not a file's.
func (b *Outbox) Scan(ctx context.Context, now time.Time) (taken, settling int, err error) {
	b.scanning.Lock()
	defer b.scanning.Unlock()
	pass := &pass{Outbox: b, now: now, sights: map[string]sight{}}
	folders, err := fs.ReadDir(b.root.FS(), ".")
	if err != nil {
		return 0, 0, fmt.Errorf("scan outbox: %w", err)
	}
	for _, f := range folders {
		switch {
		case strings.HasPrefix(f.Name(), "."):
		case f.IsDir():
			err = errors.Join(err, pass.folder(ctx, f.Name()))
		default:
			pass.refuse("", f.Name(), "it lies beside the folders of the kinds: move it into one")
		}
	}
	b.seen = pass.sights
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stuck, b.left = pass.stuck, pass.settling+pass.failed+pass.refused
	return pass.taken, pass.settling, err
}

// pass is one scan.
type pass struct {
	*Outbox
	now      time.Time
	sights   map[string]sight
	stuck    []Stuck
	taken    int
	settling int
	failed   int
	refused  int
}

func (p *pass) refuse(kind, file, why string) {
	if p.refused++; p.refused <= maxStuck {
		p.stuck = append(p.stuck, Stuck{kind, file, why})
	}
}

func (p *pass) folder(ctx context.Context, kind string) error {
	files, err := fs.ReadDir(p.root.FS(), kind)
	if err != nil {
		return fmt.Errorf("scan outbox: %w", err)
	}
	before := p.taken
	var errs []error
	for _, f := range files {
		if strings.HasPrefix(f.Name(), ".") {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := p.file(ctx, kind, f); err != nil {
			p.failed++
			errs = append(errs, fmt.Errorf("%s/%s: %w", kind, f.Name(), err))
		}
	}
	if p.taken > before {
		errs = append(errs, syncDir(p.root, kind))
	}
	return errors.Join(errs...)
}

func (p *pass) file(ctx context.Context, kind string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // taken back by whoever put it there
	}
	if err != nil {
		return err
	}
	at := path.Join(kind, entry.Name())
	if !info.Mode().IsRegular() {
		p.refuse(kind, entry.Name(), "it is no plain file")
		return nil
	}
	name, canonical, why := p.judge(kind, info)
	if why != "" {
		p.refuse(kind, entry.Name(), why)
		return nil
	}
	if !p.complete(at, info) {
		p.settling++
		return nil
	}
	return p.take(ctx, at, info, canonical, name)
}

// judge returns the name and kind a file is sent as, or why it cannot be.
func (p *pass) judge(folder string, info fs.FileInfo) (uploads.Name, string, string) {
	name, err := SentAs(p.o.Device.Name, info.Name(), info.ModTime())
	if err != nil {
		return name, "", err.Error()
	}
	kind, err := p.kinds.For(folder, name)
	if err != nil {
		return name, "", err.Error()
	}
	return name, kind.Folder, ""
}

// complete reports whether the file has been still for Settle, by its own time
// or, if that is in the future, by ours.
func (p *pass) complete(at string, info fs.FileInfo) bool {
	if age := p.now.Sub(info.ModTime()); age >= Settle {
		return true
	}
	s := sight{info.Size(), info.ModTime(), p.now}
	if was, ok := p.seen[at]; ok && was.size == s.size && was.mtime.Equal(s.mtime) {
		s.since = was.since
	}
	p.sights[at] = s
	return p.now.Sub(s.since) >= Settle
}

// errMoving means a file changed while it was read.
var errMoving = errors.New("the file is still being written")

// take spools a file and then removes it.
func (p *pass) take(ctx context.Context, at string, info fs.FileInfo, kind string, name uploads.Name) error {
	f, err := p.root.Open(at)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	receipt, err := p.spool.Accept(ctx, p.draft(kind, name, info.ModTime(), info.Size()), &stillFile{f, info})
	switch {
	case errors.Is(err, errMoving):
		p.settling++
		return nil
	case errors.Is(err, uploads.ErrTooLarge), errors.Is(err, uploads.ErrBadName), errors.Is(err, uploads.ErrBadKind):
		p.refuse(kind, info.Name(), err.Error())
		return nil
	case err != nil:
		return err
	}
	p.o.Log.LogAttrs(ctx, slog.LevelInfo, "file taken from the outbox", slog.String("kind", kind), slog.String("file", info.Name()),
		slog.String("name", name.String()), slog.String("receipt", receipt.ID), slog.Bool("duplicate", receipt.Duplicate))
	p.taken++
	return p.remove(at, info)
}

// stillFile reads a file and fails in place of its end if it is not what it was
// when it was judged complete.
type stillFile struct {
	*os.File
	was fs.FileInfo
}

func (f *stillFile) Read(b []byte) (int, error) {
	n, err := f.File.Read(b)
	if err != io.EOF {
		return n, err
	}
	is, statErr := f.Stat()
	if statErr != nil {
		return n, statErr
	}
	if !os.SameFile(is, f.was) || is.Size() != f.was.Size() || !is.ModTime().Equal(f.was.ModTime()) {
		return n, errMoving
	}
	return n, io.EOF
}

// takenSuffix marks a file that the spool holds and that is about to go.
const takenSuffix = ".taken"

// remove removes the very file that was taken. Somebody may have replaced it
// meanwhile, so it gets a name of ours first, is compared, and goes back if it
// is another.
func (b *Outbox) remove(at string, info fs.FileInfo) error {
	dir, file := path.Split(at)
	ours := dir + "." + file + takenSuffix
	if err := b.root.Rename(at, ours); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	is, err := b.root.Lstat(ours)
	if err != nil {
		return err
	}
	if !os.SameFile(is, info) {
		return b.restore(ours, at)
	}
	return b.root.Remove(ours)
}

// restore gives a file its name back unless a newer one has it by now; then it
// gets one beside it.
func (b *Outbox) restore(ours, at string) error {
	for i := 0; ; i++ {
		name := at
		if i > 0 {
			dir, file := path.Split(at)
			name = fmt.Sprintf("%s%d-%s", dir, i, file)
		}
		err := b.root.Link(ours, name)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		return b.root.Remove(ours)
	}
}

// putBack undoes removals that a crash interrupted: the spool knows the file and
// will not send it twice.
func (b *Outbox) putBack() error {
	left, err := fs.Glob(b.root.FS(), "*/.*"+takenSuffix)
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	for _, ours := range left {
		dir, file := path.Split(ours)
		at := dir + strings.TrimSuffix(strings.TrimPrefix(file, "."), takenSuffix)
		if err := b.restore(ours, at); err != nil {
			return fmt.Errorf("outbox: %w", err)
		}
	}
	return nil
}

func syncDir(root *os.Root, dir string) error {
	if runtime.GOOS == "windows" {
		return nil // has no such thing
	}
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
