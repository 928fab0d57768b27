package register

import "iter"

// A Mark is where the record of one event of an upload is.
type Mark struct {
	Event   uint64
	Segment uint32
	Block   uint32
	next    uint32
}

// markBlock is how many marks get memory together, a number of whole pages.
const markBlock = 512

// Marks are lists of marks, each known by the number of its first; 0 is the
// empty one. The zero Marks holds none.
type Marks struct {
	blocks []*block[Mark]
	free   uint32 // list of unused ones
	used   uint32
}

// At returns a mark, which may be changed.
func (m *Marks) At(n uint32) *Mark { return &m.blocks[n/markBlock].items[n%markBlock] }

// Append adds a mark to the end of a list, of which it returns the first.
func (m *Marks) Append(first uint32, k Mark) uint32 {
	n := m.take()
	k.next = 0
	*m.At(n) = k
	if first == 0 {
		return n
	}
	last := m.At(first)
	for last.next != 0 {
		last = m.At(last.next)
	}
	last.next = n
	return first
}

func (m *Marks) take() uint32 {
	if n := m.free; n != 0 {
		m.free = m.At(n).next
		return n
	}
	if m.used == 0 {
		m.used = 1 // 0 is no mark
	}
	if int(m.used/markBlock) == len(m.blocks) {
		m.blocks = append(m.blocks, newBlock[Mark](markBlock))
	}
	m.used++
	return m.used - 1
}

// List yields a list's marks.
func (m *Marks) List(first uint32) iter.Seq[*Mark] {
	return func(yield func(*Mark) bool) {
		for n := first; n != 0; {
			k := m.At(n)
			n = k.next
			if !yield(k) {
				return
			}
		}
	}
}

// Drop forgets a list.
func (m *Marks) Drop(first uint32) {
	for n := first; n != 0; {
		k := m.At(n)
		next := k.next
		*k = Mark{next: m.free}
		m.free, n = n, next
	}
}
