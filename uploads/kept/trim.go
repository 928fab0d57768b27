package kept

import (
	"cmp"
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"time"
)

// Trim lets go of what is superseded, too old or too much.
func (s *Store) Trim(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trimLines()
	if s.o.MaxAge > 0 && now.Sub(s.aged).Abs() >= agesEvery {
		s.aged = now
		s.trimAge(now.Add(-s.o.MaxAge))
	}
	if s.o.MaxBytes > 0 && s.stats.Bytes > s.o.MaxBytes {
		s.trimBytes()
	}
}

// trimLines lets go of what enough newer files of its device and kind are here
// for.
func (s *Store) trimLines() {
	for l := range s.dirty {
		files := slices.Clone(s.lines[l])
		for i, f := range files {
			if i >= f.newest {
				s.stats.Superseded++
				s.remove(f)
			}
		}
	}
	clear(s.dirty)
}

func (s *Store) trimAge(before time.Time) {
	for _, f := range s.files {
		if f.line.kind != "" && f.received.Before(before) {
			s.stats.Aged++
			s.remove(f)
		}
	}
}

// slack is how much below its bound a store that was over it is brought, in
// hundredths: so that it is not sorted for each copy.
const slack = 5

// trimBytes makes room: of what a device has a newer file of, the oldest leave
// first, and then the oldest of the rest.
func (s *Store) trimBytes() {
	type ranked struct {
		*file
		last bool
	}
	var all []ranked
	for _, files := range s.lines {
		for i, f := range files {
			all = append(all, ranked{f, i == 0})
		}
	}
	slices.SortFunc(all, func(a, b ranked) int {
		if a.last != b.last {
			if a.last {
				return 1
			}
			return -1
		}
		return cmp.Or(a.received.Compare(b.received), cmp.Compare(a.id, b.id))
	})
	for _, f := range all {
		if s.stats.Bytes <= s.o.MaxBytes*(100-slack)/100 {
			return
		}
		s.stats.Squeezed++
		s.remove(f.file)
	}
}

// remove removes a file: the sidecar first, since a body alone is removed by the
// next Open. s.mu is held.
func (s *Store) remove(f *file) {
	if err := s.root.Remove(sidecarName(f.digest, f.id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("kept file not removed; the next start does", slog.String("receipt", f.id), slog.Any("err", err))
	}
	s.leave(f)
	if f.line.kind != "" {
		s.stats.Bytes -= onDisk(f.size)
	}
	s.release(f.digest)
	s.lost = append(s.lost, f.id)
}
