// Package journal is the format of the spool's segment files, and how they are
// read back. It starts no goroutine, takes no lock and decides nothing but what
// the bytes on disk mean.
//
// A segment file is, with all numbers little-endian:
//
//	0      header, twice, each on a page of its own
//	8192   groups of records, each group starting on a page
//	       index of the records  } once the segment is sealed
//	-4096  footer                }
//
// A record starts on a 512-byte block and is a header of 64 bytes, metadata and
// body. Its checksums cover the segment's generation and its own place, so that
// what an earlier life of the file left behind, or a body that imitates a
// record, is never read as one.
package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

const (
	// Version of the segment format. A program opens its own and older ones, and
	// adds to its own alone. Since 2 a mark may be of another sort than that a sink
	// has a file or that it was lost.
	Version = 2
	// Block is what records are aligned to.
	Block = 512
	// Page is what groups are aligned to: the unit in which the kernel writes, so
	// that a page that was synced is never written again.
	Page = 4096
	// Start is where the first record goes.
	Start = 2 * Page
	// MinCapacity is the smallest segment worth having.
	MinCapacity = 64 << 10
)

// ErrNewer means the file was written by a newer version of this program.
var ErrNewer = errors.New("written by a newer version")

// ErrForeign means the file is not a segment, or its header is unreadable.
var ErrForeign = errors.New("not a segment")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AlignBlock rounds up to a block.
func AlignBlock(n int64) int64 { return (n + Block - 1) &^ (Block - 1) }

// AlignPage rounds up to a page.
func AlignPage(n int64) int64 { return (n + Page - 1) &^ (Page - 1) }

// A State is what a segment's header says of it.
type State uint8

const (
	// Free segments hold nothing; whatever is in them belongs to an earlier life.
	Free State = iota
	// Active segments hold records, sealed or not.
	Active
)

// A Header describes a segment. It is written twice, on two pages, in one
// write; after a torn write the copy with the higher counter counts.
type Header struct {
	Version    uint32 // as it was read; what is written is [Version]
	Counter    uint64 // grows with every header written to this file
	Generation uint64 // random; changes whenever the segment is freed
	State      State
	Capacity   int64
	Base       uint64 // the first sequence number in it, if active
	Prev       uint64 // generation of the segment written before it, if active
}

const (
	headerMagic = "IBspool\n"
	headerBytes = 64
)

// Encode returns both copies, [Start] bytes long.
func (h Header) Encode() []byte {
	b := make([]byte, Start)
	copy(b, headerMagic)
	le := binary.LittleEndian
	le.PutUint32(b[8:], Version)
	b[12] = byte(h.State)
	le.PutUint64(b[16:], h.Counter)
	le.PutUint64(b[24:], h.Generation)
	le.PutUint64(b[32:], uint64(h.Capacity))
	le.PutUint64(b[40:], h.Base)
	le.PutUint64(b[48:], h.Prev)
	le.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	copy(b[Page:], b[:headerBytes])
	return b
}

// DecodeHeader reads the first [Start] bytes of a segment. Torn says that the
// copies differ and should be written anew before the segment is used.
func DecodeHeader(b []byte) (h Header, torn bool, err error) {
	if len(b) < Start {
		return h, false, fmt.Errorf("%w: %d bytes long", ErrForeign, len(b))
	}
	first, err1 := decodeCopy(b[:headerBytes])
	second, err2 := decodeCopy(b[Page:][:headerBytes])
	switch {
	case errors.Is(err1, ErrNewer) || errors.Is(err2, ErrNewer):
		return h, false, ErrNewer
	case err1 != nil && err2 != nil:
		return h, false, err1
	case err1 != nil:
		return second, true, nil
	case err2 != nil:
		return first, true, nil
	case first.Counter >= second.Counter:
		return first, first != second, nil
	}
	return second, true, nil
}

func decodeCopy(b []byte) (h Header, err error) {
	le := binary.LittleEndian
	if string(b[:8]) != headerMagic {
		return h, fmt.Errorf("%w: no magic", ErrForeign)
	}
	if v := le.Uint32(b[8:]); v > Version {
		return h, fmt.Errorf("%w: format %d, known is %d", ErrNewer, v, Version)
	}
	if le.Uint32(b[60:]) != crc32.Checksum(b[:60], castagnoli) {
		return h, fmt.Errorf("%w: header checksum", ErrForeign)
	}
	return Header{
		Version:    le.Uint32(b[8:]),
		State:      State(b[12]),
		Counter:    le.Uint64(b[16:]),
		Generation: le.Uint64(b[24:]),
		Capacity:   int64(le.Uint64(b[32:])),
		Base:       le.Uint64(b[40:]),
		Prev:       le.Uint64(b[48:]),
	}, nil
}
