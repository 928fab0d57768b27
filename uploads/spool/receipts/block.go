package receipts

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const (
	blockMagic  = "IBb1"
	blockHeader = 24
	// blockEntries is how many receipts share a block, which is what a look-up
	// reads. More of them compress better and cost each look-up more time; with
	// this many a block of usual receipts is less than 4 KiB. It is part of the
	// format.
	blockEntries = 32
	// maxRaw bounds what a block is inflated to.
	maxRaw = blockEntries * maxEntry
)

// errDamaged means that bytes are not what was written.
var errDamaged = errors.New("damaged")

// appendBlock appends the block with the given number to b, which ends on a
// multiple of unit, and pads it to the next.
func appendBlock(b []byte, number uint32, records []record) []byte {
	start, agents := len(b), 0
	b = append(b, make([]byte, blockHeader)...)
	for i := range records {
		b = append(b, records[i].digest[:]...)
	}
	var raw []byte
	for i := range records {
		if records[i].flags&recordAgent != 0 {
			b = append(b, records[i].agent[:]...)
			agents++
		}
		raw = records[i].append(raw)
	}
	b = compressor().EncodeAll(raw, b)
	h, le := b[start:], binary.LittleEndian
	copy(h, blockMagic)
	le.PutUint32(h[8:], uint32(len(h)))
	le.PutUint32(h[12:], number)
	le.PutUint16(h[16:], uint16(len(records)))
	le.PutUint16(h[18:], uint16(agents))
	le.PutUint32(h[20:], uint32(len(raw)))
	le.PutUint32(h[4:], crc32.Checksum(h[8:], castagnoli))
	for (len(b)-start)%unit != 0 {
		b = append(b, 0)
	}
	return b
}

// A block is the bytes of one, perhaps followed by others.
type block []byte

func (b block) length() int    { return int(binary.LittleEndian.Uint32(b[8:])) }
func (b block) number() uint32 { return binary.LittleEndian.Uint32(b[12:]) }

// sound cuts off what does not belong to it.
func (b block) sound() (block, bool) {
	if len(b) < blockHeader || string(b[:4]) != blockMagic || b.length() < blockHeader || b.length() > len(b) {
		return nil, false
	}
	b = b[:b.length()]
	return b, binary.LittleEndian.Uint32(b[4:]) == crc32.Checksum(b[8:], castagnoli)
}

// An inflated block is what is in one. It may be used for the next one again.
type inflated struct {
	raw     []byte
	records []record
}

// read takes a block that has its header and is sound.
func (in *inflated) read(b block) ([]record, error) {
	le := binary.LittleEndian
	count, agents, size := int(le.Uint16(b[16:])), int(le.Uint16(b[18:])), int(le.Uint32(b[20:]))
	packed := blockHeader + count*len(record{}.digest) + agents*len(agentID{})
	if count > blockEntries || size > maxRaw || packed > len(b) {
		return nil, fmt.Errorf("%w: block of %d receipts, %d bytes", errDamaged, count, size)
	}
	if cap(in.raw) < size {
		in.raw = make([]byte, 0, size)
	}
	raw, err := decompressor().DecodeAll(b[packed:], in.raw[:0:size])
	if err != nil || len(raw) != size {
		return nil, fmt.Errorf("%w: block inflates to %d bytes, not %d: %v", errDamaged, len(raw), size, err)
	}
	in.records = append(in.records[:0], make([]record, count)...)
	apart := b[blockHeader:]
	for i := range in.records {
		if raw, err = in.records[i].read(raw); err != nil {
			return nil, err
		}
		apart = apart[copy(in.records[i].digest[:], apart):]
	}
	for i := range in.records {
		if in.records[i].flags&recordAgent != 0 {
			apart = apart[copy(in.records[i].agent[:], apart):]
		}
	}
	return in.records, nil
}

// records reads a block that has its header and is sound.
func (b block) records() ([]record, error) { return new(inflated).read(b) }

// compressor makes blocks small. What differs between receipts is mostly noise,
// which no level makes smaller, so the fastest will do.
var compressor = sync.OnceValue(func() *zstd.Encoder {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault),
		zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // the options are constants
	}
	return z
})

var decompressor = sync.OnceValue(func() *zstd.Decoder {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxRaw),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic(err)
	}
	return z
})
