package register

// A Sum is how many entries count against one source, and their size.
type Sum struct {
	hash  uint64
	Bytes int64
	Files int32
	next  Ref // unused one
}

// sumBlock is how many sums get memory together, a number of whole pages.
const sumBlock = 512

// Sums counts by source. No Sum is kept of a source that has no files.
type Sums struct {
	blocks []*block[Sum]
	free   Ref
	used   Ref
	table  table
}

// NewSums returns an empty one.
func NewSums() *Sums {
	s := &Sums{used: 1} // 0 is none
	s.table.hash = func(ref Ref) uint32 { return uint32(s.at(ref).hash >> 32) }
	return s
}

func (s *Sums) at(ref Ref) *Sum { return &s.blocks[ref/sumBlock].items[ref%sumBlock] }

func (s *Sums) find(hash uint64) Ref {
	for ref := range s.table.find(uint32(hash >> 32)) {
		if s.at(ref).hash == hash {
			return ref
		}
	}
	return 0
}

// Of returns the sum of a source, of which the hash is given.
func (s *Sums) Of(hash uint64) Sum {
	if ref := s.find(hash); ref != 0 {
		return *s.at(ref)
	}
	return Sum{}
}

// Add counts files, or takes them off again.
func (s *Sums) Add(hash uint64, files int32, bytes int64) {
	ref := s.find(hash)
	if ref == 0 {
		ref = s.take()
		*s.at(ref) = Sum{hash: hash}
		s.table.add(ref)
	}
	sum := s.at(ref)
	sum.Files += files
	sum.Bytes += bytes
	if sum.Files == 0 {
		s.table.remove(ref)
		*sum = Sum{next: s.free}
		s.free = ref
	}
}

func (s *Sums) take() Ref {
	if ref := s.free; ref != 0 {
		s.free = s.at(ref).next
		return ref
	}
	if int(s.used/sumBlock) == len(s.blocks) {
		s.blocks = append(s.blocks, newBlock[Sum](sumBlock))
	}
	s.used++
	return s.used - 1
}
