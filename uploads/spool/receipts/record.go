package receipts

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/journal"
)

// A record is a receipt as it lies in a block, not yet read further than its
// numbers. Its slices are of the block.
type record struct {
	seq    uint64 // the upload's
	last   uint64 // the highest of the events in it
	latest int64  // when something last happened to it, in Unix milliseconds
	flags  byte

	digest uploads.Digest
	agent  agentID
	meta   []byte // the upload's metadata without number, digest and agent
	marks  []byte
}

// The flags of a record are part of the format.
const (
	recordLost     = 1 << iota // it left without being delivered
	recordNameless             // only its numbers are known
	recordAgent                // its agent's id is 32 hex digits and lies apart
)

// An agentID is kept apart from the rest because nothing makes it smaller.
type agentID [16]byte

func recordOf(e *Entry) record {
	r := record{seq: e.Upload.Seq, last: e.last(), latest: e.latest().UnixMilli(), digest: e.Upload.Digest}
	u := e.Upload
	u.Digest = uploads.Digest{}
	if id, ok := parseAgent(u.AgentID); ok {
		r.agent, u.AgentID = id, ""
		r.flags |= recordAgent
	}
	if e.Lost() {
		r.flags |= recordLost
	}
	if u.Name.IsZero() {
		r.flags |= recordNameless
	}
	r.meta = journal.AppendUpload(nil, &u, false)
	for _, m := range e.Marks {
		of := *m
		of.File = nil // which is what the receipt itself says
		r.marks = journal.AppendMark(r.marks, &of)
	}
	return r
}

func parseAgent(s string) (id agentID, ok bool) {
	if len(s) != 2*len(id) {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(s))
	return id, err == nil && hex.EncodeToString(id[:]) == s
}

// entry reads all of it.
func (r *record) entry() (*Entry, error) {
	u, err := journal.DecodeUpload(r.meta, r.seq)
	if err != nil && r.flags&recordNameless == 0 {
		return nil, fmt.Errorf("receipt %d: %w", r.seq, err)
	}
	marks, err := journal.DecodeMarks(r.marks, 0)
	if err != nil {
		return nil, fmt.Errorf("receipt %d: %w", r.seq, err)
	}
	u.Seq, u.Digest = r.seq, r.digest
	if r.flags&recordAgent != 0 {
		u.AgentID = hex.EncodeToString(r.agent[:])
	}
	return &Entry{Upload: *u, Marks: marks}, nil
}

// append appends what of the record is compressed.
func (r *record) append(b []byte) []byte {
	b = binary.AppendUvarint(b, r.seq)
	b = binary.AppendUvarint(b, r.last-r.seq)
	b = binary.AppendVarint(b, r.latest)
	b = append(b, r.flags)
	b = binary.AppendUvarint(b, uint64(len(r.meta)))
	b = append(b, r.meta...)
	b = binary.AppendUvarint(b, uint64(len(r.marks)))
	return append(b, r.marks...)
}

// read takes it from the front of b.
func (r *record) read(b []byte) (rest []byte, err error) {
	d := decoder{b: b}
	r.seq = d.uvarint()
	r.last = r.seq + d.uvarint()
	r.latest = d.varint()
	r.flags = d.byte()
	r.meta = d.bytes()
	r.marks = d.bytes()
	if d.bad {
		return nil, fmt.Errorf("%w: receipt ends early", errDamaged)
	}
	return d.b, nil
}

// A decoder reads numbers and strings until something is wrong.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	return step(d, v, n)
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	return step(d, v, n)
}

func step[T any](d *decoder, v T, n int) (none T) {
	if n <= 0 {
		d.b, d.bad = nil, true
		return none
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.bad = true
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.b, d.bad = nil, true
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}
