package spool

import (
	"hash/maphash"
	"strings"

	"inventorybeacon/uploads"
)

// A Key is what the order in which files are relayed depends on, of one file.
type Key struct {
	Seq  uint64
	Kind string
	Size int64
	// Source is what files of one device have in common, in any spelling of its
	// name; of one sender, where the device is unknown. It means nothing to
	// another process.
	Source uint64
}

// Keys appends to out the keys of up to limit files that the sink has not got,
// with Seq above after, in ascending order. It reads no file.
func (s *Spool) Keys(name string, after uint64, limit int, out []Key) []Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.sink(name)
	if k == nil {
		return out
	}
	for _, e := range k.pending.from(after) {
		if limit == 0 {
			break
		}
		if k.wants(e) {
			limit--
			out = append(out, KeyOf(e.Upload.Upload))
		}
	}
	return out
}

var sourceSeed = maphash.MakeSeed()

// KeyOf returns the key of a file.
func KeyOf(u uploads.Upload) Key {
	var h maphash.Hash
	h.SetSeed(sourceSeed)
	h.WriteString(strings.ToLower(u.Device.Name))
	h.WriteByte(0)
	if u.Device.IsZero() {
		h.WriteString(u.Peer)
	} else {
		h.WriteString(strings.ToLower(u.Device.Domain))
	}
	return Key{Seq: u.Seq, Kind: u.Kind, Size: u.Size, Source: h.Sum64()}
}
