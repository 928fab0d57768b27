// Package register keeps the few facts that are wanted of every upload at any
// time, in the order of their numbers: where its record is, how far it has got,
// and by which hashes it is found. Everything else is read from the disk.
//
// An entry takes 88 bytes, and 11 to 21 in the tables of hashes. Nothing in it is a
// pointer. What this package makes is not safe for use by several goroutines.
package register

import (
	"iter"
	"slices"
	"sort"
)

// A Ref is the place of an entry, until the next Remove or Insert; 0 is none.
type Ref uint32

// An Entry is what is known of one upload without reading.
type Entry struct {
	Seq      uint64
	Size     int64
	Received int64  // Unix milliseconds
	Source   uint64 // hash of who it counts against
	Line     uint64 // hash of the device, see spool.Key
	Name     uint32 // hash of kind and name
	File     uint32 // hash of those and the bytes
	Segment  uint32 // which segment its record is in,
	Block    uint32 // and on which block
	Meta     uint32 // how long the record's metadata is
	Got      uint32 // bits of the sinks that have it
	Refused  uint32 // and of those that will never take it
	Marks    uint32 // the first of its marks, see [Marks]
	older    Ref    // of the same name
	newer    Ref
	Kind     uint32 // the number of its folder
	Flags    Flags
}

// Flags are what is true of an entry.
type Flags uint32

// The flags.
const (
	Left     Flags = 1 << iota // it is held no longer
	Lost                       // it left without being delivered
	Nameless                   // damaged, and nothing is known but its number
	Blob                       // its body is in a file of its own
	gone                       // not in the register any longer
)

// Is says whether all of f are true.
func (e *Entry) Is(f Flags) bool { return e.Flags&f == f }

const (
	chunkBits = 9
	// chunkSize is how many entries are kept together, in whole pages. With fewer,
	// the list of chunks grows; with more, one that stays behind keeps more memory.
	chunkSize = 1 << chunkBits
)

type chunk struct {
	*block[Entry]
	used int // from the first on, those that are gone included
	live int
}

// A Register is a list of entries in ascending order of Seq.
type Register struct {
	chunks []*chunk // by number; nil if the number is free
	free   []uint32
	order  []uint32 // the numbers of chunks in the order of their entries
	count  int
	names  table // the newest of each hash
	files  table // all
}

// New returns an empty register.
func New() *Register {
	r := &Register{}
	r.clear()
	return r
}

func (r *Register) clear() {
	*r = Register{chunks: []*chunk{nil}} // so that no Ref is 0
	r.names.hash = func(ref Ref) uint32 { return r.At(ref).Name }
	r.files.hash = func(ref Ref) uint32 { return r.At(ref).File }
}

// Len is the number of entries.
func (r *Register) Len() int { return r.count }

// At returns the entry at a place. It may be changed, but for its Seq, Name and
// File.
func (r *Register) At(ref Ref) *Entry { return &r.chunks[ref>>chunkBits].items[ref&(chunkSize-1)] }

// Last is the highest number in it.
func (r *Register) Last() uint64 {
	if len(r.order) == 0 {
		return 0
	}
	c := r.chunks[r.order[len(r.order)-1]]
	return c.items[c.used-1].Seq
}

// Add appends an entry, whose number is higher than any other's.
func (r *Register) Add(e Entry) Ref {
	n := len(r.order)
	if n == 0 || r.chunks[r.order[n-1]].used == chunkSize {
		r.order = append(r.order, r.number())
		n++
	}
	number := r.order[n-1]
	c := r.chunks[number]
	ref := Ref(number<<chunkBits | uint32(c.used))
	e.older, e.newer = 0, 0
	c.items[c.used] = e
	c.used++
	c.live++
	r.count++
	if !e.Is(Nameless) {
		r.link(ref)
	}
	return ref
}

func newChunk() *chunk { return &chunk{block: newBlock[Entry](chunkSize)} }

// number returns the number of a new chunk.
func (r *Register) number() uint32 {
	if n := len(r.free); n > 0 {
		number := r.free[n-1]
		r.free = r.free[:n-1]
		r.chunks[number] = newChunk()
		return number
	}
	r.chunks = append(r.chunks, newChunk())
	return uint32(len(r.chunks) - 1)
}

func (r *Register) link(ref Ref) {
	e := r.At(ref)
	if old := r.Newest(e.Name); old != 0 {
		e.older = old
		r.At(old).newer = ref
		r.names.replace(old, ref)
	} else {
		r.names.add(ref)
	}
	r.files.add(ref)
}

// Newest returns the newest entry with that hash of kind and name, which may be
// another name's.
func (r *Register) Newest(name uint32) Ref {
	for ref := range r.names.find(name) {
		return ref
	}
	return 0
}

// Older returns the one before it of the same hash.
func (r *Register) Older(ref Ref) Ref { return r.At(ref).older }

// Files yields the entries with that hash of name and bytes, in no order.
func (r *Register) Files(file uint32) iter.Seq[Ref] { return r.files.find(file) }

// Find returns the entry with a number, or nil.
func (r *Register) Find(seq uint64) (Ref, *Entry) {
	i, at := r.search(seq)
	if i == len(r.order) {
		return 0, nil
	}
	c := r.chunks[r.order[i]]
	if at == c.used || c.items[at].Seq != seq || c.items[at].Is(gone) {
		return 0, nil
	}
	return Ref(r.order[i]<<chunkBits | uint32(at)), &c.items[at]
}

// search returns where the first entry with at least that number is, or would
// be: which in the order of chunks, and where in that.
func (r *Register) search(seq uint64) (i, at int) {
	i = sort.Search(len(r.order), func(i int) bool {
		c := r.chunks[r.order[i]]
		return c.items[c.used-1].Seq >= seq
	})
	if i == len(r.order) {
		return i, 0
	}
	c := r.chunks[r.order[i]]
	return i, sort.Search(c.used, func(at int) bool { return c.items[at].Seq >= seq })
}

// From yields the entries whose number is at least seq. Nothing may be added or
// removed meanwhile.
func (r *Register) From(seq uint64) iter.Seq2[Ref, *Entry] {
	return func(yield func(Ref, *Entry) bool) {
		i, at := r.search(seq)
		for ; i < len(r.order); i, at = i+1, 0 {
			c := r.chunks[r.order[i]]
			for ; at < c.used; at++ {
				e := &c.items[at]
				if !e.Is(gone) && !yield(Ref(r.order[i]<<chunkBits|uint32(at)), e) {
					return
				}
			}
		}
	}
}

// Remove takes an entry out.
func (r *Register) Remove(ref Ref) {
	e := r.At(ref)
	if !e.Is(Nameless) {
		r.unlink(ref)
	}
	e.Flags |= gone
	r.count--
	r.chunks[ref>>chunkBits].live--
	i, _ := r.search(e.Seq)
	r.shrink(i)
	if i > 0 {
		r.shrink(i - 1)
	}
}

func (r *Register) unlink(ref Ref) {
	e := r.At(ref)
	r.files.remove(ref)
	if e.older != 0 {
		r.At(e.older).newer = e.newer
	}
	switch {
	case e.newer != 0:
		r.At(e.newer).older = e.older
	case e.older != 0:
		r.names.replace(ref, e.older)
	default:
		r.names.remove(ref)
	}
}

// shrink drops a chunk if nothing is left in it, and joins it with the one
// behind it if both fill half of one.
func (r *Register) shrink(i int) {
	if i >= len(r.order) {
		return
	}
	c := r.chunks[r.order[i]]
	if c.live == 0 {
		r.drop(i)
		return
	}
	if i+1 == len(r.order) {
		return
	}
	if next := r.chunks[r.order[i+1]]; c.live+next.live <= chunkSize/2 {
		r.join(i)
	}
}

func (r *Register) drop(i int) {
	number := r.order[i]
	r.chunks[number] = nil
	r.free = append(r.free, number)
	r.order = slices.Delete(r.order, i, i+1)
}

// join moves what is left in a chunk, and in the one behind it, to the front of
// the first.
func (r *Register) join(i int) {
	number, c, next := r.order[i], r.chunks[r.order[i]], r.chunks[r.order[i+1]]
	used := c.used
	c.used = 0
	for at := range used {
		r.move(Ref(number<<chunkBits|uint32(at)), c, number)
	}
	for at := range next.used {
		r.move(Ref(r.order[i+1]<<chunkBits|uint32(at)), c, number)
	}
	c.live = c.used
	r.drop(i + 1)
}

// move puts an entry behind the last one of a chunk.
func (r *Register) move(from Ref, c *chunk, number uint32) {
	e := *r.At(from)
	if e.Is(gone) {
		return
	}
	to := Ref(number<<chunkBits | uint32(c.used))
	c.used++
	if to == from {
		return
	}
	if !e.Is(Nameless) {
		r.files.replace(from, to)
		if e.newer == 0 {
			r.names.replace(from, to)
		} else {
			r.At(e.newer).older = to
		}
		if e.older != 0 {
			r.At(e.older).newer = to
		}
	}
	*r.At(to) = e
}

// Insert adds entries with any numbers that are not in it yet.
func (r *Register) Insert(extra []Entry) {
	if len(extra) == 0 {
		return
	}
	slices.SortFunc(extra, func(a, b Entry) int {
		if a.Seq < b.Seq {
			return -1
		}
		return 1
	})
	chunks, order := r.chunks, r.order
	r.clear()
	for _, number := range order {
		c := chunks[number]
		for at := range c.used {
			e := c.items[at]
			for len(extra) > 0 && extra[0].Seq < e.Seq {
				r.Add(extra[0])
				extra = extra[1:]
			}
			if !e.Is(gone) {
				r.Add(e)
			}
		}
		chunks[number] = nil
	}
	for _, e := range extra {
		r.Add(e)
	}
}
