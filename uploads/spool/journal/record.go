package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A Type is a sort of record.
type Type uint8

// The sorts of record.
const (
	// TypeUpload is an accepted file: metadata (see [Upload]) and body.
	TypeUpload Type = 1
	// TypeMarks is news about uploads (see [Mark]); it takes one sequence number
	// for each.
	TypeMarks Type = 2
	// TypeVoid takes the place of a record that could not be written. Its body is
	// whatever lies there.
	TypeVoid Type = 3
	// TypeCut leaves the end of a segment out of the journal (see [Cut]).
	TypeCut Type = 4
	// TypeClose ends a run of the program: nothing was in progress.
	TypeClose Type = 5
)

const (
	// RecordHeader is the size of a record's header.
	RecordHeader = 64
	// MaxMeta bounds a record's metadata; a header that claims more is no header.
	MaxMeta = 1 << 20

	recordMagic = "IBr1"
	headCRCAt   = 56
	wholeCRCAt  = 60
)

// A Record is one entry of the journal.
type Record struct {
	Type       Type
	Generation uint64 // of the segment it is in
	Offset     int64  // in the segment
	Seq        uint64
	Count      uint32 // sequence numbers it takes, from Seq on; at least 1
	Mark       uint64 // every number up to here was durable or cut when it was written
	Meta       []byte
	BodyLen    int64
	// Intact says that the body has been checked as well as the metadata. An
	// index speaks for its records without reading bodies.
	Intact bool
}

// Len is the record's length in the file.
func (r Record) Len() int64 { return AlignBlock(RecordHeader + int64(len(r.Meta)) + r.BodyLen) }

// End is where the next record may begin.
func (r Record) End() int64 { return r.Offset + r.Len() }

// Last is the highest sequence number it takes.
func (r Record) Last() uint64 { return r.Seq + uint64(r.Count) - 1 }

// BodyOffset is where its body begins.
func (r Record) BodyOffset() int64 { return r.Offset + RecordHeader + int64(len(r.Meta)) }

// PutHeader writes r's header into b, which holds, in this order, room for the
// header, the metadata (as in r.Meta) and the body.
func (r Record) PutHeader(b []byte) {
	metaEnd := RecordHeader + len(r.Meta)
	r.putFixed(b)
	head := crc32.Checksum(b[:headCRCAt], castagnoli)
	head = crc32.Update(head, castagnoli, b[RecordHeader:metaEnd])
	whole := crc32.Update(head, castagnoli, b[metaEnd:metaEnd+int(r.BodyLen)])
	binary.LittleEndian.PutUint32(b[headCRCAt:], head)
	binary.LittleEndian.PutUint32(b[wholeCRCAt:], whole)
}

// EncodeVoid returns the header of a void record in r's place.
func (r Record) EncodeVoid() []byte {
	length := r.Len()
	r.Type, r.Meta = TypeVoid, nil
	r.BodyLen = length - RecordHeader
	b := make([]byte, RecordHeader)
	r.putFixed(b)
	head := crc32.Checksum(b[:headCRCAt], castagnoli)
	binary.LittleEndian.PutUint32(b[headCRCAt:], head)
	binary.LittleEndian.PutUint32(b[wholeCRCAt:], head)
	return b
}

func (r Record) putFixed(b []byte) {
	le := binary.LittleEndian
	copy(b, recordMagic)
	le.PutUint32(b[4:], uint32(r.Type))
	le.PutUint64(b[8:], r.Generation)
	le.PutUint64(b[16:], uint64(r.Offset))
	le.PutUint64(b[24:], r.Seq)
	le.PutUint64(b[32:], r.Mark)
	le.PutUint32(b[40:], uint32(len(r.Meta)))
	le.PutUint32(b[44:], r.Count)
	le.PutUint64(b[48:], uint64(r.BodyLen))
}

// fixed reads the header alone; its checksum is still to be tested. It returns
// the length of the metadata, and false if this cannot be a record.
func (r *Record) fixed(b []byte, generation uint64, at, end int64) (metaLen int, ok bool) {
	le := binary.LittleEndian
	if string(b[:4]) != recordMagic || le.Uint64(b[8:]) != generation || le.Uint64(b[16:]) != uint64(at) {
		return 0, false
	}
	metaLen = int(le.Uint32(b[40:]))
	*r = Record{
		Type:       Type(le.Uint32(b[4:])),
		Generation: generation,
		Offset:     at,
		Seq:        le.Uint64(b[24:]),
		Mark:       le.Uint64(b[32:]),
		Count:      le.Uint32(b[44:]),
		BodyLen:    int64(le.Uint64(b[48:])),
	}
	if r.Type == TypeVoid {
		end = 1 << 62 // of its body nothing may have been written
	}
	ok = metaLen <= MaxMeta && r.Count > 0 && r.BodyLen >= 0 && r.BodyLen <= end-at &&
		RecordHeader+int64(metaLen)+r.BodyLen <= end-at
	return metaLen, ok
}

// A Place is where a record is in one life of a segment. No other record can be
// there.
type Place struct {
	Generation uint64
	Offset     int64
}

// HeadLen is how long the header and the metadata of the record that begins with
// b say they are.
func HeadLen(b []byte) int {
	if len(b) < RecordHeader {
		return RecordHeader
	}
	return RecordHeader + int(min(binary.LittleEndian.Uint32(b[40:]), MaxMeta))
}

// Head checks b, which begins with the record at a place and holds its metadata
// at least, and returns the record.
func (p Place) Head(b []byte) (Record, error) {
	r, _, err := p.head(b)
	return r, err
}

// head returns the checksum, too, as far as it goes.
func (p Place) head(b []byte) (r Record, crc uint32, err error) {
	if len(b) < RecordHeader {
		return r, 0, fmt.Errorf("record at %d: cut off", p.Offset)
	}
	metaLen, ok := r.fixed(b, p.Generation, p.Offset, 1<<62)
	metaEnd := RecordHeader + metaLen
	if !ok || metaEnd > len(b) {
		return r, 0, fmt.Errorf("record at %d: header damaged", p.Offset)
	}
	r.Meta = b[RecordHeader:metaEnd]
	crc = crc32.Checksum(b[:headCRCAt], castagnoli)
	crc = crc32.Update(crc, castagnoli, r.Meta)
	if binary.LittleEndian.Uint32(b[headCRCAt:]) != crc {
		return r, 0, fmt.Errorf("record at %d: checksum of its header", p.Offset)
	}
	return r, crc, nil
}

// Whole checks b, the bytes of the record at a place from its header to the end
// of its body, and returns the record and its body.
func (p Place) Whole(b []byte) (r Record, body []byte, err error) {
	r, crc, err := p.head(b)
	if err != nil {
		return r, nil, err
	}
	body = b[RecordHeader+len(r.Meta):]
	if r.BodyLen != int64(len(body)) {
		return r, nil, fmt.Errorf("record at %d: %d bytes of body, not %d", p.Offset, r.BodyLen, len(body))
	}
	if binary.LittleEndian.Uint32(b[wholeCRCAt:]) != crc32.Update(crc, castagnoli, body) {
		return r, nil, fmt.Errorf("record at %d: checksum", p.Offset)
	}
	r.Intact = true
	return r, body, nil
}
