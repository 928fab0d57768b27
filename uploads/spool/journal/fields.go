package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Metadata is a list of fields: a tag and a length as varints, then bytes. A
// reader skips tags it does not know.

func putBytes(b []byte, tag uint64, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	b = binary.AppendUvarint(b, tag)
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

func putString(b []byte, tag uint64, v string) []byte {
	if v == "" {
		return b
	}
	b = binary.AppendUvarint(b, tag)
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

func putUint(b []byte, tag, v uint64) []byte {
	if v == 0 {
		return b
	}
	var n [binary.MaxVarintLen64]byte
	return putBytes(b, tag, binary.AppendUvarint(n[:0], v))
}

func putTime(b []byte, tag uint64, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	var n [binary.MaxVarintLen64]byte
	return putBytes(b, tag, binary.AppendVarint(n[:0], t.UnixMilli()))
}

func putBool(b []byte, tag uint64, v bool) []byte {
	if !v {
		return b
	}
	return putUint(b, tag, 1)
}

// fields calls f with every field of b.
func fields(b []byte, f func(tag uint64, v []byte) error) error {
	for len(b) > 0 {
		tag, v, rest, err := field(b)
		if err != nil {
			return err
		}
		if err := f(tag, v); err != nil {
			return fmt.Errorf("metadata: field %d: %w", tag, err)
		}
		b = rest
	}
	return nil
}

// field reads the first field of b.
func field(b []byte) (tag uint64, v, rest []byte, err error) {
	tag, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, nil, errBadTag
	}
	b = b[n:]
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return 0, nil, nil, fmt.Errorf("metadata: field %d: bad length", tag)
	}
	b = b[n:]
	return tag, b[:size:size], b[size:], nil
}

var errBadTag = errors.New("metadata: bad tag")

func getUint(v []byte) uint64 {
	n, _ := binary.Uvarint(v)
	return n
}

func getTime(v []byte) time.Time {
	ms, _ := binary.Varint(v)
	return time.UnixMilli(ms).UTC()
}
