package receipts

import (
	"encoding/binary"
	"sort"
)

// heads tell, of each name with very many receipts in a run, which is the newest
// that was not lost. Each takes 8 bytes: where the name's receipts begin, and
// which of them it is, by their places in the run.
type heads []byte

const (
	headBytes = 8
	// manyVersions is from how many receipts on a name has a head. Below that they
	// are looked through: a block or two more.
	manyVersions = 2 * blockEntries
	noHead       = 1<<32 - 1
)

func (h heads) add(first, newest uint32) heads {
	h = binary.LittleEndian.AppendUint32(h, first)
	return binary.LittleEndian.AppendUint32(h, newest)
}

// newest returns the one of the name whose receipts begin at first.
func (h heads) newest(first int) (newest int, ok bool) {
	at := func(i int) uint32 { return binary.LittleEndian.Uint32(h[i*headBytes:]) }
	i := sort.Search(len(h)/headBytes, func(i int) bool { return at(i) >= uint32(first) })
	if i*headBytes == len(h) || at(i) != uint32(first) {
		return 0, false
	}
	return int(binary.LittleEndian.Uint32(h[i*headBytes+4:])), true
}

// A headFinder goes along a run's receipts and finds the heads.
type headFinder struct {
	heads  heads
	name   NameID
	first  uint32 // of this name
	n      uint32 // receipts before the next one
	newest uint32
	seq    uint64 // of newest
}

func (f *headFinder) add(name NameID, seq uint64, lost bool) {
	if f.n == 0 || name != f.name {
		f.end()
		f.name, f.first, f.newest, f.seq = name, f.n, noHead, 0
	}
	if !lost && seq >= f.seq {
		f.newest, f.seq = f.n, seq
	}
	f.n++
}

// end ends a name.
func (f *headFinder) end() {
	if f.n-f.first >= manyVersions {
		f.heads = f.heads.add(f.first, f.newest)
	}
}
