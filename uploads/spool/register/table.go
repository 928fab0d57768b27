package register

import "iter"

const (
	shardBits = 8
	// smallest is how many slots a shard begins with.
	smallest = 8
)

// A table finds places by a hash that their entries hold; several may share
// one. It is made of shards that grow each for itself, so that no addition has to
// wait for all of it to be moved.
type table struct {
	shards [1 << shardBits]shard
	hash   func(Ref) uint32
}

// A shard is a hash table with linear probing, at most three quarters full.
type shard struct {
	slots []Ref
	count int
}

// The upper bits of a hash choose the shard, the lower ones the slot.
func (t *table) shard(hash uint32) *shard { return &t.shards[hash>>(32-shardBits)] }

func (t *table) find(hash uint32) iter.Seq[Ref] {
	return func(yield func(Ref) bool) {
		s := t.shard(hash)
		if len(s.slots) == 0 {
			return
		}
		for i := s.home(hash); s.slots[i] != 0; i = s.after(i) {
			if t.hash(s.slots[i]) == hash && !yield(s.slots[i]) {
				return
			}
		}
	}
}

func (s *shard) home(hash uint32) int { return int(hash) & (len(s.slots) - 1) }

func (s *shard) after(i int) int { return (i + 1) & (len(s.slots) - 1) }

func (t *table) add(ref Ref) {
	hash := t.hash(ref)
	s := t.shard(hash)
	if (s.count+1)*4 > len(s.slots)*3 {
		t.grow(s)
	}
	s.put(hash, ref)
	s.count++
}

func (s *shard) put(hash uint32, ref Ref) {
	i := s.home(hash)
	for s.slots[i] != 0 {
		i = s.after(i)
	}
	s.slots[i] = ref
}

func (t *table) grow(s *shard) { t.resize(s, max(smallest, 2*len(s.slots))) }

func (t *table) resize(s *shard, n int) {
	old := s.slots
	s.slots = make([]Ref, n)
	for _, ref := range old {
		if ref != 0 {
			s.put(t.hash(ref), ref)
		}
	}
}

// slot returns where a place is entered.
func (t *table) slot(ref Ref) (*shard, int) {
	hash := t.hash(ref)
	s := t.shard(hash)
	i := s.home(hash)
	for s.slots[i] != ref {
		i = s.after(i)
	}
	return s, i
}

// replace enters a place of the same hash instead of another one.
func (t *table) replace(old, ref Ref) {
	s, i := t.slot(old)
	s.slots[i] = ref
}

// remove takes a place out, and moves up those behind it that would not be
// found across the gap.
func (t *table) remove(ref Ref) {
	s, gap := t.slot(ref)
	for i := s.after(gap); s.slots[i] != 0; i = s.after(i) {
		home := s.home(t.hash(s.slots[i]))
		if (i-home)&(len(s.slots)-1) >= (i-gap)&(len(s.slots)-1) {
			s.slots[gap] = s.slots[i]
			gap = i
		}
	}
	s.slots[gap] = 0
	s.count--
	if len(s.slots) > smallest && s.count*8 < len(s.slots) {
		t.resize(s, len(s.slots)/2)
	}
}
