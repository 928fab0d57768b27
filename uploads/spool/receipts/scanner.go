package receipts

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// A scanner goes through the blocks of a run, and over what is damaged.
type scanner struct {
	r       io.ReaderAt
	at, end int64
	buf     []byte // of the file from from on
	from    int64
	in      inflated
	next    uint32 // number of the block that should follow
	skipped int    // blocks that are missing so far
}

// scanBytes is how much is read ahead.
const scanBytes = 256 << 10

// missing is how many of the run's blocks were not found, at its end.
func (s *scanner) missing(blocks int) int { return s.skipped + max(blocks-int(s.next), 0) }

// block returns the next sound block, what is in it and where it is, or
// [io.EOF]. They are good until the next call.
func (s *scanner) block() (b block, records []record, at int64, err error) {
	for s.at+blockHeader <= s.end {
		b, err := s.sound()
		if err != nil {
			return nil, nil, 0, err
		}
		if b != nil && b.number() >= s.next {
			if records, err := s.in.read(b); err == nil {
				at := s.at
				s.at += alignUnit(int64(len(b)))
				s.skipped += int(b.number() - s.next)
				s.next = b.number() + 1
				return b, records, at, nil
			}
		}
		s.at += unit
	}
	return nil, nil, 0, io.EOF
}

// sound returns the block at this place, or nil if there is none.
func (s *scanner) sound() (block, error) {
	h, err := s.peek(blockHeader)
	if err != nil {
		return nil, err
	}
	if string(h[:4]) != blockMagic {
		return nil, nil
	}
	size := int64(block(h).length())
	if size < blockHeader || size > s.end-s.at || size > maxRaw {
		return nil, nil
	}
	all, err := s.peek(int(size))
	if err != nil {
		return nil, err
	}
	b, ok := block(all).sound()
	if !ok {
		return nil, nil
	}
	return b, nil
}

// peek returns the next n bytes.
func (s *scanner) peek(n int) ([]byte, error) {
	off := s.at - s.from
	if off < 0 || off+int64(n) > int64(len(s.buf)) {
		size := min(max(n, scanBytes), int(s.end-s.at))
		s.buf = slices.Grow(s.buf[:0], size)[:size]
		s.from, off = s.at, 0
		if got, err := s.r.ReadAt(s.buf, s.at); got < len(s.buf) {
			return nil, fmt.Errorf("read receipts: %w", errors.Join(err, io.ErrUnexpectedEOF))
		}
	}
	return s.buf[off : off+int64(n)], nil
}

func alignUnit(n int64) int64 { return (n + unit - 1) / unit * unit }
