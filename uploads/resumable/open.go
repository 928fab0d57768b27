package resumable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"strings"
	"time"

	"inventorybeacon/uploads/spool/disk"
)

// Recovery is what Open found.
type Recovery struct {
	Open, Done int
	// Damaged uploads were ended: their state was lost, or some of what was promised.
	Damaged int
	// Orphans are files of ours that were never told to anybody.
	Orphans int
	// Unknown files were left alone.
	Unknown []string
}

// Open opens the store below the spool's folder, or makes one. An error that
// matches [ErrNewer] means that nothing was changed.
//
//   - Bytes behind the last promise are cut off: a power cut may have torn them.
//   - Fewer bytes than were promised, or a state that cannot be read, end the upload.
//   - No bytes at all, and a digest that was announced: the spool may have taken
//     them, so that whoever asks for the upload is told what the spool says.
//   - Bytes without a state were never promised and go.
func Open(dir string, o Options) (*Store, Recovery, error) {
	s := &Store{
		o: o, log: o.Log, disk: o.Disk,
		uploads: map[string]*upload{}, files: map[string]*upload{}, ended: map[string]time.Time{},
		sources: map[string]usage{}, reasons: map[string]uint64{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.disk == nil {
		d, err := disk.Open(dir)
		if err != nil {
			return nil, Recovery{}, fmt.Errorf("open unfinished uploads: %w", err)
		}
		s.disk, s.own = d, true
	}
	found, err := s.recover()
	if err != nil {
		return nil, found, errors.Join(fmt.Errorf("open unfinished uploads: %w", err), s.Close())
	}
	if found.Damaged > 0 {
		s.log.Error("unfinished uploads were damaged and have ended: their senders begin again", slog.Int("uploads", found.Damaged))
	}
	return s, found, nil
}

// recover looks at every file, first only to see whether all may be touched.
func (s *Store) recover() (found Recovery, err error) {
	if err := s.disk.Mkdir(Dir); err != nil {
		return found, err
	}
	if err := s.disk.SyncDir("."); err != nil {
		return found, err
	}
	states, data, err := s.look(&found)
	if err != nil {
		return found, err
	}
	texts := map[string][]byte{}
	for id := range states {
		if texts[id], err = s.readAll(path.Join(Dir, id+stateSuffix)); err != nil {
			return found, err
		}
		if _, _, _, _, err := readState(texts[id]); errors.Is(err, ErrNewer) {
			return found, fmt.Errorf("%s: %w", id+stateSuffix, err)
		}
	}
	for id, text := range texts {
		if err := s.revive(id, text, data[id], &found); err != nil {
			return found, err
		}
	}
	for id := range data {
		if !states[id] {
			found.Orphans++
			s.remove(&upload{id: id}) // it is logged
		}
	}
	return found, nil
}

func (s *Store) look(found *Recovery) (states, data map[string]bool, err error) {
	ents, err := s.disk.ReadDir(Dir)
	if err != nil {
		return nil, nil, err
	}
	states, data = map[string]bool{}, map[string]bool{}
	for _, ent := range ents {
		name := ent.Name()
		ext := path.Ext(name)
		switch id := strings.TrimSuffix(name, ext); {
		case IsID(id) && ext == stateSuffix:
			states[id] = true
		case IsID(id) && ext == dataSuffix:
			data[id] = true
		default:
			found.Unknown = append(found.Unknown, name)
		}
	}
	return states, data, nil
}

func (s *Store) readAll(name string) ([]byte, error) {
	f, err := s.disk.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(f, 0, size))
}

// revive makes an upload of its files, or ends it.
func (s *Store) revive(id string, text []byte, hasData bool, found *Recovery) error {
	d, created, last, size, err := readState(text)
	u := &upload{id: id, draft: d, created: created, touched: last.At, offset: last.Offset, weight: max(last.Offset, d.Length), logged: size}
	if err == nil {
		u.source = d.Source()
		err = s.settle(u, last, hasData)
	}
	switch {
	case errors.Is(err, errDamaged):
		found.Damaged++
		s.reasons[EndDamaged]++
		s.ended[id] = time.Now()
		s.log.Warn("unfinished upload damaged", slog.String("id", id), slog.String("name", d.Name.String()), slog.Any("err", err))
		return s.remove(u)
	case err != nil:
		return err
	case u.done:
		found.Done++
		s.uploads[id] = u
		s.done++
	default:
		found.Open++
		s.enter(u)
	}
	return nil
}

// settle brings the files in line with the last step.
func (s *Store) settle(u *upload, last step, hasData bool) error {
	if err := s.cutTo(u.stateFile(), u.logged); err != nil {
		return err
	}
	switch {
	case last.Done != nil:
		u.done, u.digest, u.from = true, *last.Done, last.From
	case !hasData && u.draft.Want != nil:
		u.done, u.digest, u.from = true, *u.draft.Want, last.Offset
		u.draft.Length = last.Offset
	case !hasData:
		return fmt.Errorf("%w: its bytes are missing", errDamaged)
	default:
		return s.cutTo(u.dataFile(), u.offset)
	}
	if hasData { // adopting it left a second name, or never took it away
		if err := s.disk.Remove(u.dataFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// cutTo makes a file end where its last promise does.
func (s *Store) cutTo(name string, size int64) error {
	f, err := s.disk.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	have, err := f.Size()
	switch {
	case err != nil:
		return err
	case have < size:
		return fmt.Errorf("%w: %d bytes of %d", errDamaged, have, size)
	case have > size:
		return f.Truncate(size)
	}
	return nil
}
