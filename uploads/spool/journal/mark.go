package journal

import (
	"bytes"
	"time"

	"inventorybeacon/uploads"
)

// A Sort is what a mark says, beyond that a sink has a file or that it was lost.
type Sort uint8

// The sorts of mark. Their numbers are part of the format.
const (
	// Settled says that Sink has the file, or, with a Reason, that it was lost.
	Settled Sort = iota
	// Flagged says that a check found something, which Detail tells.
	Flagged
	// Refused says that Sink will never take the file; Detail tells why.
	Refused
	// Learnt says who is known by now to have the file.
	Learnt
)

// A Mark is news about one upload: a sink has it, or it was lost.
type Mark struct {
	Seq    uint64 // the upload's
	Event  uint64 // the mark's own number
	Sort   Sort
	At     time.Time
	Sink   string // who has it, or will never; empty if it was lost
	Left   bool   // the spool holds it no longer
	Reason string // why it was lost
	Detail string
	// Through is the last number of a damaged range that begins at Seq, of whose
	// records nothing is known; 0 otherwise.
	Through uint64
	Custody []uploads.Custody
	// File identifies the upload where its record may be gone (see [Learnt]): the
	// first 16 bytes of the hash of kind and name, and the bytes' SHA-256.
	File []byte
}

// Lost says whether the mark is of a loss.
func (m *Mark) Lost() bool { return m.Reason != "" }

// The tags of a mark's fields, of a custody entry's, and of the list of marks.
// They are part of the format.
const (
	mkSeq = iota + 1
	mkEvent
	mkAt
	mkSink
	mkLeft
	mkReason
	mkDetail
	mkThrough
	mkCustody
	mkSort
	mkFile

	cuLevel  = 1
	cuBeacon = 2
	cuAt     = 3

	listMark = 1
)

// AppendMark appends one mark to a list of them.
func AppendMark(b []byte, m *Mark) []byte {
	var one []byte
	one = putUint(one, mkSeq, m.Seq)
	one = putUint(one, mkEvent, m.Event)
	one = putTime(one, mkAt, m.At)
	one = putString(one, mkSink, m.Sink)
	one = putBool(one, mkLeft, m.Left)
	one = putString(one, mkReason, m.Reason)
	one = putString(one, mkDetail, m.Detail)
	one = putUint(one, mkThrough, m.Through)
	for _, c := range m.Custody {
		var cu []byte
		cu = putString(cu, cuLevel, c.Level)
		cu = putString(cu, cuBeacon, c.Beacon)
		cu = putTime(cu, cuAt, c.At)
		one = putBytes(one, mkCustody, cu)
	}
	one = putUint(one, mkSort, uint64(m.Sort))
	one = putBytes(one, mkFile, m.File)
	return putBytes(b, listMark, one)
}

// DecodeMarks reads a list of marks. A mark that does not say its own number
// has that of its place in the record numbered seq.
func DecodeMarks(b []byte, seq uint64) (marks []*Mark, err error) {
	err = fields(b, func(tag uint64, v []byte) error {
		if tag != listMark {
			return nil
		}
		m := &Mark{Event: seq + uint64(len(marks))}
		marks = append(marks, m)
		return fields(v, m.set)
	})
	return marks, err
}

func (m *Mark) set(tag uint64, v []byte) error {
	switch tag {
	case mkSeq:
		m.Seq = getUint(v)
	case mkEvent:
		m.Event = getUint(v)
	case mkAt:
		m.At = getTime(v)
	case mkSink:
		m.Sink = string(v)
	case mkLeft:
		m.Left = getUint(v) != 0
	case mkReason:
		m.Reason = string(v)
	case mkDetail:
		m.Detail = string(v)
	case mkThrough:
		m.Through = getUint(v)
	case mkSort:
		m.Sort = Sort(getUint(v))
	case mkFile:
		m.File = bytes.Clone(v)
	case mkCustody:
		var c uploads.Custody
		err := fields(v, func(tag uint64, v []byte) error {
			switch tag {
			case cuLevel:
				c.Level = string(v)
			case cuBeacon:
				c.Beacon = string(v)
			case cuAt:
				c.At = getTime(v)
			}
			return nil
		})
		m.Custody = append(m.Custody, c)
		return err
	}
	return nil
}

// A Cut leaves everything from number First on in one life of a segment out of
// the journal: no acknowledgement depended on it.
type Cut struct {
	Generation uint64
	First      uint64
}

// AppendCut appends a [TypeCut] record's metadata.
func AppendCut(b []byte, c Cut) []byte {
	return putUint(putUint(b, 1, c.Generation), 2, c.First)
}

// DecodeCut reads a [TypeCut] record's metadata.
func DecodeCut(b []byte) (c Cut, err error) {
	err = fields(b, func(tag uint64, v []byte) error {
		switch tag {
		case 1:
			c.Generation = getUint(v)
		case 2:
			c.First = getUint(v)
		}
		return nil
	})
	return c, err
}
