package receipts

import (
	"cmp"
	"encoding/binary"
	"io"
	"slices"
)

// A logStream reads a log in the order of a run.
type logStream struct {
	log   *log
	refs  []logRef
	group []keyed // of names with the same first bits
}

// A logRef is an entry of a log by the first bits of its name.
type logRef struct {
	key uint64
	at  uint32
}

// sorted takes 16 bytes of memory for each entry.
func (l *log) sorted() *logStream {
	s := &logStream{log: l, refs: make([]logRef, 0, l.length())}
	l.all(func(raw entry, at uint32) bool {
		id := raw.name()
		s.refs = append(s.refs, logRef{binary.BigEndian.Uint64(id[:]), at})
		return true
	})
	slices.SortFunc(s.refs, func(a, b logRef) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.at, b.at)) })
	return s
}

func (s *logStream) next() (keyed, error) {
	for len(s.group) == 0 {
		if len(s.refs) == 0 {
			return keyed{}, io.EOF
		}
		if err := s.fill(); err != nil {
			return keyed{}, err
		}
	}
	e := s.group[0]
	s.group = s.group[1:]
	return e, nil
}

// fill reads the next group. Of entries of one upload the last one counts.
func (s *logStream) fill() error {
	n := 1
	for n < len(s.refs) && s.refs[n].key == s.refs[0].key {
		n++
	}
	for _, ref := range s.refs[:n] {
		raw, err := s.log.read(ref.at)
		if err != nil {
			return err
		}
		if e, err := raw.decode(); err == nil {
			s.group = append(s.group, keyedOf(e))
		}
	}
	s.refs = s.refs[n:]
	if n > 1 {
		slices.Reverse(s.group)
		slices.SortStableFunc(s.group, keyed.order)
		s.group = slices.CompactFunc(s.group, func(a, b keyed) bool { return a.order(b) == 0 })
	}
	return nil
}

// damaged is none: what cannot be read of a log was found when it was opened.
func (s *logStream) damaged() int { return 0 }
