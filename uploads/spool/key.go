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

// KeyOf returns the key of a file.
func KeyOf(u uploads.Upload) Key {
	var h maphash.Hash
	h.SetSeed(seed)
	h.WriteString(strings.ToLower(u.Device.Name))
	h.WriteByte(0)
	if u.Device.IsZero() {
		h.WriteString(u.Peer)
	} else {
		h.WriteString(strings.ToLower(u.Device.Domain))
	}
	return Key{Seq: u.Seq, Kind: u.Kind, Size: u.Size, Source: h.Sum64()}
}
