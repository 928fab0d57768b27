package journal

import (
	"encoding/binary"
	"hash/crc32"
	"io"
)

// An index lists a segment's records with their metadata, so that opening a
// spool reads no bodies. The footer, the last page of the file, says where it is.
//
// Each entry is: type, offset in blocks, number, count, mark, body length and
// metadata's length as varints, then the metadata.

const (
	footerMagic = "IBindex\n"
	footerBytes = 56

	// indexEntry bounds an entry without its metadata: seven varints.
	indexEntry = 7 * binary.MaxVarintLen64
)

// IndexBytes is the most that r takes in an index.
func IndexBytes(r Record) int64 { return indexEntry + int64(len(r.Meta)) }

// Room says whether a segment of the given capacity, filled up to end by
// records whose index takes up to index bytes, stays within it when sealed.
func Room(capacity, end, index int64) bool { return Capacity(end, index) <= capacity }

// Capacity is the least for which there is [Room].
func Capacity(end, index int64) int64 { return AlignPage(end) + AlignPage(index) + Page }

// Seal returns the index of a segment's intact records and its footer. The
// index goes to offset at, the footer into the last page of the file, which for
// a segment that grew is the page behind the index.
func Seal(h Header, records []Record, at int64) (index, footer []byte) {
	for _, r := range records {
		index = binary.AppendUvarint(index, uint64(r.Type))
		index = binary.AppendUvarint(index, uint64(r.Offset/Block))
		index = binary.AppendUvarint(index, r.Seq)
		index = binary.AppendUvarint(index, uint64(r.Count))
		index = binary.AppendUvarint(index, r.Mark)
		index = binary.AppendUvarint(index, uint64(r.BodyLen))
		index = binary.AppendUvarint(index, uint64(len(r.Meta)))
		index = append(index, r.Meta...)
	}
	footer = make([]byte, Page)
	le := binary.LittleEndian
	copy(footer, footerMagic)
	le.PutUint64(footer[8:], h.Generation)
	le.PutUint64(footer[16:], uint64(at))
	le.PutUint64(footer[24:], uint64(len(index)))
	le.PutUint64(footer[32:], uint64(len(records)))
	le.PutUint32(footer[48:], crc32.Checksum(index, castagnoli))
	le.PutUint32(footer[52:], crc32.Checksum(footer[:52], castagnoli))
	return index, footer
}

// ReadIndex returns the records a sealed segment lists; ok is false if it is
// not sealed or the index is damaged, and the segment must be scanned.
func ReadIndex(f io.ReaderAt, h Header, size int64) (records []Record, ok bool) {
	le := binary.LittleEndian
	footer := make([]byte, footerBytes)
	if size < Start+Page {
		return nil, false
	}
	if _, err := f.ReadAt(footer, size-Page); err != nil {
		return nil, false
	}
	at, n := int64(le.Uint64(footer[16:])), int64(le.Uint64(footer[24:]))
	if string(footer[:8]) != footerMagic || le.Uint64(footer[8:]) != h.Generation ||
		le.Uint32(footer[52:]) != crc32.Checksum(footer[:52], castagnoli) ||
		at < Start || n < 0 || n > size || at > size-n {
		return nil, false
	}
	index := make([]byte, n)
	if _, err := f.ReadAt(index, at); err != nil || crc32.Checksum(index, castagnoli) != le.Uint32(footer[48:]) {
		return nil, false
	}
	return decodeIndex(index, h, le.Uint64(footer[32:]))
}

func decodeIndex(b []byte, h Header, count uint64) (records []Record, ok bool) {
	for range count {
		var v [7]uint64
		for i := range v {
			n := 0
			if v[i], n = binary.Uvarint(b); n <= 0 {
				return nil, false
			}
			b = b[n:]
		}
		if v[6] > uint64(len(b)) {
			return nil, false
		}
		records = append(records, Record{
			Type: Type(v[0]), Generation: h.Generation, Offset: int64(v[1]) * Block, Seq: v[2],
			Count: uint32(v[3]), Mark: v[4], BodyLen: int64(v[5]), Meta: b[:v[6]:v[6]], Intact: true,
		})
		b = b[v[6]:]
	}
	return records, len(b) == 0
}
