package directory

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/durablefile"
)

// A folder is one kind's, with what is known of the names in it.
//
// Names that differ only in case are the same to an importer on Windows, but
// not to our file system, so the folder has to be listed. The listing is kept as hashes (a
// million files cost some 20 MB) and made again when the folder changed behind
// our back. A name taken behind our back since then is still never overwritten.
type folder struct {
	root  *os.Root
	dir   string
	seed  maphash.Seed
	taken map[uint64]struct{} // hashes of keys; a superset of what is there
	files int
	bytes int64
	sizes bool      // whether bytes is wanted, which costs a stat per file
	mtime time.Time // of the folder when it was last known
	way   passage   // while names are taken
}

// folder returns the folder of a kind, made if need be and freshly looked at.
func (s *Sink) folder(kind string) (*folder, error) {
	if _, err := uploads.ParseName(kind); err != nil {
		return nil, fmt.Errorf("kind: %w", err)
	}
	f := s.folders[kind]
	if f == nil {
		f = &folder{root: s.root, dir: path.Join(incoming, kind), seed: maphash.MakeSeed(), sizes: s.o.MaxBytes > 0}
		s.folders[kind] = f
	}
	if err := s.make(f.dir); err != nil {
		return nil, err
	}
	return f, f.look()
}

// make makes a folder, and those above it, durably, unless it exists.
func (s *Sink) make(dir string) error {
	err := s.root.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrNotExist) { // the importer is thorough
		if err := s.make(path.Dir(dir)); err != nil {
			return err
		}
		err = s.root.Mkdir(dir, 0o755)
	}
	switch {
	case err == nil:
		return durablefile.SyncDir(s.root, path.Dir(dir))
	case errors.Is(err, fs.ErrExist):
		return nil
	}
	return err
}

// look lists the folder if it changed since it was last known.
func (f *folder) look() error {
	info, err := f.root.Stat(f.dir)
	if err != nil {
		return err
	}
	if f.taken != nil && info.ModTime().Equal(f.mtime) {
		return nil
	}
	f.taken, f.files, f.bytes, f.mtime = map[uint64]struct{}{}, 0, 0, info.ModTime()
	return f.each(func(e fs.DirEntry) error {
		f.files++
		f.taken[f.hash(e.Name())] = struct{}{}
		if !f.sizes {
			return nil
		}
		if info, err := e.Info(); err == nil { // else the importer just took it
			f.bytes += info.Size()
		}
		return nil
	})
}

// looked notes that the changes up to now are our own.
func (f *folder) looked() {
	if info, err := f.root.Stat(f.dir); err == nil {
		f.mtime = info.ModTime()
	}
}

// listChunk bounds the memory of listing a large folder.
const listChunk = 1024

// each calls fn for every file that an importer would see.
func (f *folder) each(fn func(fs.DirEntry) error) error {
	d, err := f.root.Open(f.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(listChunk)
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") {
				continue
			}
			if err := fn(e); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

func (f *folder) hash(name string) uint64 { return maphash.String(f.seed, key(name)) }

// errTaken means that every name a file may get belongs to other bytes.
var errTaken = errors.New("the name and those derived from it are taken by other files")

// place gives the draft the first of its names that is free, unless a file
// with its bytes already has one of them.
func (f *folder) place(d *draft) error {
	var free []string
	for _, name := range names(d.Name, d.Digest) {
		twins, err := f.twins(name)
		if err != nil {
			return err
		}
		for _, twin := range twins {
			if same, err := f.same(twin, d); err != nil || same {
				return err
			}
		}
		if len(twins) == 0 {
			free = append(free, name)
		}
	}
	for _, name := range free {
		switch err := f.take(d, name); {
		case err == nil:
			return nil
		case !errors.Is(err, fs.ErrExist):
			return fmt.Errorf("name %s: %w", name, err)
		}
		if same, err := f.same(name, d); err != nil || same { // put there this very moment
			return err
		}
	}
	return errTaken
}

// take links the draft to a name that nothing has.
func (f *folder) take(d *draft, name string) error {
	if err := f.way.take(d.temp, name); err != nil {
		return err
	}
	d.temp = ""
	f.taken[f.hash(name)] = struct{}{}
	f.files++
	f.bytes += d.Size
	return nil
}

// twins returns the names in the folder that count as the same as name.
func (f *folder) twins(name string) ([]string, error) {
	if _, perhaps := f.taken[f.hash(name)]; !perhaps {
		return nil, nil
	}
	var out []string
	err := f.each(func(e fs.DirEntry) error {
		if key(e.Name()) == key(name) {
			out = append(out, e.Name())
		}
		return nil
	})
	if err == nil && len(out) == 0 {
		delete(f.taken, f.hash(name)) // an importer took it
	}
	return out, err
}

// same reports whether the file of that name is durable and has the draft's
// bytes. A file that is gone, or is no file, is not the same.
func (f *folder) same(name string, d *draft) (bool, error) {
	// Only a file is opened: a pipe would wait for a writer, and a link may lead
	// anywhere.
	name = path.Join(f.dir, name)
	info, err := f.root.Lstat(name)
	if err == nil && (!info.Mode().IsRegular() || info.Size() != d.Size) {
		return false, nil
	}
	var file *os.File
	if err == nil {
		file, err = f.root.Open(name)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return false, err
	}
	if uploads.Digest(h.Sum(nil)) != d.Digest {
		return false, nil
	}
	return true, syncFound(file) // whoever wrote it may not have
}

// waiting counts what importers have not taken yet; afresh, if what is known
// of the folders is not good enough.
func (s *Sink) waiting(afresh bool) (files int, size int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kinds, err := fs.ReadDir(s.root.FS(), incoming)
	if err != nil {
		return 0, 0, err
	}
	for _, k := range kinds {
		if _, err := uploads.ParseName(k.Name()); err != nil || !k.IsDir() {
			continue // not ours
		}
		if afresh {
			delete(s.folders, k.Name())
		}
		f, err := s.folder(k.Name())
		if err != nil {
			return 0, 0, err
		}
		files, size = files+f.files, size+f.bytes
	}
	return files, size, nil
}
