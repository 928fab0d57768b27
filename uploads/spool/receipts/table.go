package receipts

import "iter"

// A table finds places in the file by hash: open addressing with linear
// probing. A slot is 8 bytes, the hash above the place; place 0 is none.
// Different things may have one hash, so whoever asks checks what is there.
type table struct {
	slots []uint64
	n     int
}

const (
	minSlots = 64
	// A table this full (of 16) is doubled. Fuller ones probe longer, emptier ones
	// take more memory.
	fullAt = 14
)

func (t *table) put(hash, at uint32) {
	if (t.n+1)*16 > len(t.slots)*fullAt {
		t.grow()
	}
	t.n++
	t.insert(uint64(hash)<<32 | uint64(at))
}

func (t *table) insert(slot uint64) {
	i := t.home(uint32(slot >> 32))
	for t.slots[i] != 0 {
		i = t.after(i)
	}
	t.slots[i] = slot
}

// replace moves a slot to another place; it is false if there was none.
func (t *table) replace(hash, old, at uint32) bool {
	if t.n == 0 {
		return false
	}
	want := uint64(hash)<<32 | uint64(old)
	for i := t.home(hash); t.slots[i] != 0; i = t.after(i) {
		if t.slots[i] == want {
			t.slots[i] = uint64(hash)<<32 | uint64(at)
			return true
		}
	}
	return false
}

// get yields the places of a hash.
func (t *table) get(hash uint32) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		if t.n == 0 {
			return
		}
		for i := t.home(hash); t.slots[i] != 0; i = t.after(i) {
			if uint32(t.slots[i]>>32) == hash && !yield(uint32(t.slots[i])) {
				return
			}
		}
	}
}

// home spreads hashes over the slots whatever their number.
func (t *table) home(hash uint32) int { return int(uint64(hash) * uint64(len(t.slots)) >> 32) }

func (t *table) after(i int) int {
	if i++; i == len(t.slots) {
		return 0
	}
	return i
}

func (t *table) grow() {
	old := t.slots
	t.slots = make([]uint64, max(minSlots, 2*len(old)))
	for _, slot := range old {
		if slot != 0 {
			t.insert(slot)
		}
	}
}
