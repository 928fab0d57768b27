package receipts

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// A guide is the filter of a run and tells where in it a receipt is: 15 bits for
// each receipt, and it is all that is kept in memory of it.
//
// Names are numbered evenly by their first 64 bits into as many buckets as there
// are receipts. In the order of the run, a bit string has a one for each receipt
// and a zero at the end of each bucket, so that counting to a bucket's zero also
// counts the receipts before it. Of each receipt the next 8 bits of the name and
// the first 4 of the digest are kept: a name that is not there is taken for one
// that is once in 256 times, a file once in 4096.
type guide struct {
	n      int
	unary  []byte   // 8-byte words
	tags   []byte   // 12 bits each
	starts []byte   // 4 bytes for each block and the end: where it is, in units
	zeros  []uint32 // the place of each 256th zero
}

const (
	nameBits   = 8
	digestBits = 4
	// zeroStep is how many buckets a look-up counts through at most: about 64 bytes.
	zeroStep = 256
)

// A bucketed key is what a guide knows of one.
type bucketed struct {
	bucket int
	tag    uint16
}

func (g *guide) key(id FileID) bucketed { return bucketOf(id, g.n) }

func bucketOf(id FileID, n int) bucketed {
	b, rest := bits.Mul64(binary.BigEndian.Uint64(id.Name[:]), uint64(n))
	return bucketed{int(b), uint16(rest>>(64-nameBits))<<digestBits | uint16(id.Digest[0]>>(8-digestBits))}
}

// name returns the receipts that may have a name: from is the first, to the one
// behind the last.
func (g *guide) name(id NameID) (from, to int) {
	return g.search(FileID{Name: id}, digestBits)
}

// file returns the receipts that may be of certain bytes under a name.
func (g *guide) file(id FileID) (from, to int) {
	return g.search(id, 0)
}

func (g *guide) search(id FileID, ignore int) (from, to int) {
	if g.n == 0 {
		return 0, 0
	}
	k := g.key(id)
	at := 0
	if k.bucket > 0 {
		at = g.zero(k.bucket-1) + 1
	}
	for i := at - k.bucket; g.one(at); i, at = i+1, at+1 {
		if g.tag(i)>>ignore != k.tag>>ignore {
			continue
		}
		if to == 0 {
			from = i
		}
		to = i + 1
	}
	return from, to
}

// zero is the place of the n-th zero.
func (g *guide) zero(n int) int {
	at := int(g.zeros[n/zeroStep])
	n %= zeroStep
	word, skip := at/64, at%64
	w := ^g.word(word) >> skip << skip
	for {
		if c := bits.OnesCount64(w); n < c {
			break
		} else {
			n -= c
		}
		word++
		w = ^g.word(word)
	}
	for ; n > 0; n-- {
		w &= w - 1
	}
	return word*64 + bits.TrailingZeros64(w)
}

func (g *guide) word(i int) uint64 { return binary.LittleEndian.Uint64(g.unary[i*8:]) }
func (g *guide) one(at int) bool   { return g.unary[at/8]>>(at%8)&1 != 0 }

func (g *guide) tag(i int) uint16 {
	v := binary.LittleEndian.Uint16(g.tags[i*3/2:])
	return v >> (i % 2 * 4) & (1<<(nameBits+digestBits) - 1)
}

// span is where a block lies in the file.
func (g *guide) span(block int) (from, to int64) {
	return g.start(block), g.start(block + 1)
}

func (g *guide) start(block int) int64 {
	return int64(binary.LittleEndian.Uint32(g.starts[block*4:])) * unit
}

func (g *guide) blocks() int { return len(g.starts)/4 - 1 }

// bytes is the memory it takes.
func (g *guide) bytes() int { return len(g.unary) + len(g.tags) + len(g.starts) + 4*len(g.zeros) }

// The lengths of the parts of the guide to n receipts.
func unaryBytes(n int) int  { return (2*n + 63) / 64 * 8 }
func tagBytes(n int) int    { return (n*3+1)/2 + 1 }
func startsBytes(n int) int { return (blocksOf(n) + 1) * 4 }
func blocksOf(n int) int    { return (n + blockEntries - 1) / blockEntries }

// parseGuide takes a guide to n receipts from the front of b.
func parseGuide(b []byte, n int) (g guide, rest []byte) {
	g.n = n
	g.unary, b = b[:unaryBytes(n):unaryBytes(n)], b[unaryBytes(n):]
	g.tags, b = b[:tagBytes(n):tagBytes(n)], b[tagBytes(n):]
	g.starts, b = b[:startsBytes(n):startsBytes(n)], b[startsBytes(n):]
	zeros := 0
	for i := range len(g.unary) / 8 {
		w := ^g.word(i)
		for c := bits.OnesCount64(w); zeros+c > len(g.zeros)*zeroStep; {
			g.zeros = append(g.zeros, uint32(i*64+nthOne(w, len(g.zeros)*zeroStep-zeros)))
		}
		zeros += bits.OnesCount64(w)
	}
	g.zeros = slices.Clip(g.zeros)
	return g, b
}

func nthOne(w uint64, n int) int {
	for ; n > 0; n-- {
		w &= w - 1
	}
	return bits.TrailingZeros64(w)
}

// A guideWriter collects what a guide needs: 9 bytes of memory for each receipt
// until it is written.
type guideWriter struct {
	keys    []uint64 // the names' first bits
	digests []byte   // first byte of each
	starts  []byte
}

func (w *guideWriter) add(id FileID) {
	w.keys = append(w.keys, binary.BigEndian.Uint64(id.Name[:]))
	w.digests = append(w.digests, id.Digest[0])
}

func (w *guideWriter) addBlock(at int64) {
	w.starts = binary.LittleEndian.AppendUint32(w.starts, uint32(at/unit))
}

// append appends the guide; end is where the last block ends.
func (w *guideWriter) append(b []byte, end int64) []byte {
	n := len(w.keys)
	w.addBlock(end)
	unary, tags := make([]byte, unaryBytes(n)), make([]byte, tagBytes(n))
	for i, key := range w.keys {
		var id FileID
		binary.BigEndian.PutUint64(id.Name[:], key)
		id.Digest[0] = w.digests[i]
		k := bucketOf(id, n)
		one := k.bucket + i
		unary[one/8] |= 1 << (one % 8)
		at := i * 3 / 2
		binary.LittleEndian.PutUint16(tags[at:], binary.LittleEndian.Uint16(tags[at:])|k.tag<<(i%2*4))
	}
	b = append(b, unary...)
	b = append(b, tags...)
	return append(b, w.starts...)
}
