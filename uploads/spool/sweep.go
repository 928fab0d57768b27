package spool

import (
	"path"
)

// ready ends the opening: leftovers of ours are swept, unless something is
// missing whose body they might be, and the upkeep may begin.
func (s *Spool) ready(incomplete bool, blobs map[string]bool) {
	s.recovery.Segments = len(s.segments)
	if !incomplete {
		s.sweep(blobDir, blobSuffix, blobs)
	}
	s.sweep(blobDir, tempSuffix, nil)
	s.sweep(segmentDir, tempSuffix, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	free := s.spares
	s.spares = nil
	for _, seg := range free {
		if s.o.Recycle && seg.header.Capacity == s.o.SegmentBytes && seg.size >= seg.header.Capacity && len(s.spares) < s.o.Spares {
			s.spares = append(s.spares, seg)
		} else {
			s.surplus = append(s.surplus, seg)
		}
	}
	s.upkeep.spares = len(s.spares)
	s.recovery.Spares = len(s.spares)
	s.upkeep.opening = false
	s.kick()
}

// sweep removes files of ours that nothing refers to, or gives them back.
func (s *Spool) sweep(dir, suffix string, keep map[string]bool) {
	ents, err := s.disk.ReadDir(dir)
	if err != nil {
		s.log.Warn("directory not swept", "dir", dir, "err", err)
		return
	}
	for _, ent := range ents {
		name := path.Join(dir, ent.Name())
		if !isOurs(dir, ent.Name(), suffix) || keep[name] {
			continue
		}
		adopted, err := false, error(nil)
		if dir == blobDir && suffix == blobSuffix {
			adopted, err = restore(s.disk, name)
		}
		if !adopted {
			err = s.disk.Remove(name)
		}
		if err != nil {
			s.log.Warn("leftover not removed", "file", name, "err", err)
			continue
		}
		s.recovery.Orphans++
	}
}

func isOurs(dir, base, suffix string) bool {
	if dir == blobDir {
		return isBlobName(base, suffix)
	}
	_, ok := segmentNumber(base, suffix)
	return ok
}
