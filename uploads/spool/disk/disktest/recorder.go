package disktest

import (
	"fmt"
	"maps"
	"path"
	"sync"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/disk"
)

// A Recorder is a disk that remembers which bytes have been synced, so that a
// test can ask at the instant of an acknowledgement whether it is true.
//
//	rec := disktest.NewRecorder(d)
//	spool.Open(dir, spool.Options{Disk: rec, Trace: &spool.Trace{Acked: rec.Acked}})
//	… when the sender is told: rec.Check(receipt.ID)
type Recorder struct {
	disk.Disk
	// Skip, if set, is the bug put there on purpose: a sync for which it returns
	// true is reported as done and not done. It is set before the first use.
	Skip func(name string) bool

	mu    sync.Mutex
	files map[string]*recorded
	dirs  map[string]map[string]bool // names whose directory has been synced
	acked map[string]location
}

type recorded struct {
	dirty  []*span // written, not synced
	synced []*span
}

type span struct {
	from, to int64
	done     bool // the write has returned
}

type location struct {
	file     string
	from, to int64
	blob     string
	blobSize int64
}

// NewRecorder records what goes through to d.
func NewRecorder(d disk.Disk) *Recorder {
	return &Recorder{Disk: d, files: map[string]*recorded{}, dirs: map[string]map[string]bool{}, acked: map[string]location{}}
}

// Acked remembers where an upload lies; it is for spool.Trace.
func (r *Recorder) Acked(u uploads.Upload, file string, from, to int64, blob string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked[uploads.ReceiptID(u.Kind, u.Name, u.Digest)] = location{file, from, to, blob, u.Size}
}

// Check returns an error unless every byte of the upload with this receipt has
// been synced by now.
func (r *Recorder) Check(receipt string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.acked[receipt]
	if !ok {
		return fmt.Errorf("receipt %s: nothing was stored", receipt)
	}
	if err := r.durable(l.file, l.from, l.to); err != nil {
		return fmt.Errorf("receipt %s: %w", receipt, err)
	}
	if l.blob == "" {
		return nil
	}
	if err := r.durable(l.blob, 0, l.blobSize); err != nil {
		return fmt.Errorf("receipt %s: body: %w", receipt, err)
	}
	return nil
}

func (r *Recorder) durable(name string, from, to int64) error {
	if !r.dirs[path.Dir(name)][name] {
		return fmt.Errorf("the directory of %s was not synced", name)
	}
	f := r.files[name]
	if f == nil {
		return fmt.Errorf("%s was never written", name)
	}
	for _, s := range f.dirty {
		if s.from < to && s.to > from {
			return fmt.Errorf("%s: [%d,%d) is written, but not synced", name, max(s.from, from), min(s.to, to))
		}
	}
	for at := from; at < to; {
		next := at
		for _, s := range f.synced {
			if s.from <= at && s.to > next {
				next = s.to
			}
		}
		if next == at {
			return fmt.Errorf("%s: nothing was written at %d", name, at)
		}
		at = next
	}
	return nil
}

// Open implements [disk.Disk].
func (r *Recorder) Open(name string) (disk.File, error) {
	f, err := r.Disk.Open(name)
	return r.wrap(name, f, err)
}

// Create implements [disk.Disk].
func (r *Recorder) Create(name string) (disk.File, error) {
	f, err := r.Disk.Create(name)
	return r.wrap(name, f, err)
}

func (r *Recorder) wrap(name string, f disk.File, err error) (disk.File, error) {
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.files[name] == nil {
		r.files[name] = &recorded{}
	}
	return &recordedFile{File: f, r: r, rec: r.files[name], name: name}, nil
}

// Rename implements [disk.Disk].
func (r *Recorder) Rename(from, to string) error {
	if err := r.Disk.Rename(from, to); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[to] = r.files[from]
	delete(r.files, from)
	delete(r.dirs[path.Dir(to)], to)
	return nil
}

// Remove implements [disk.Disk].
func (r *Recorder) Remove(name string) error {
	r.mu.Lock()
	delete(r.files, name)
	delete(r.dirs[path.Dir(name)], name)
	r.mu.Unlock()
	return r.Disk.Remove(name)
}

// SyncDir implements [disk.Disk].
func (r *Recorder) SyncDir(name string) error {
	if r.Skip != nil && r.Skip(name) {
		return nil
	}
	names := map[string]bool{}
	r.mu.Lock()
	for n := range r.files {
		if path.Dir(n) == name {
			names[n] = true
		}
	}
	r.mu.Unlock()
	if err := r.Disk.SyncDir(name); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dirs[name] == nil {
		r.dirs[name] = map[string]bool{}
	}
	maps.Copy(r.dirs[name], names)
	return nil
}

type recordedFile struct {
	disk.File
	r    *Recorder
	rec  *recorded
	name string
}

func (f *recordedFile) WriteAt(b []byte, off int64) (int, error) {
	s := &span{from: off, to: off + int64(len(b))}
	f.r.mu.Lock()
	f.rec.dirty = append(f.rec.dirty, s)
	f.r.mu.Unlock()
	n, err := f.File.WriteAt(b, off)
	f.r.mu.Lock()
	s.done = true
	f.r.mu.Unlock()
	return n, err
}

// Sync counts for the writes that had returned before it began.
func (f *recordedFile) Sync() error {
	if f.r.Skip != nil && f.r.Skip(f.name) {
		return nil
	}
	covered := map[*span]bool{}
	f.r.mu.Lock()
	for _, s := range f.rec.dirty {
		covered[s] = s.done
	}
	f.r.mu.Unlock()
	if err := f.File.Sync(); err != nil {
		return err
	}
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	var dirty []*span
	for _, s := range f.rec.dirty {
		if covered[s] {
			f.rec.synced = append(f.rec.synced, s)
		} else {
			dirty = append(dirty, s)
		}
	}
	f.rec.dirty = dirty
	return nil
}
