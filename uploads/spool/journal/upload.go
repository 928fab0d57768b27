package journal

import (
	"fmt"

	"inventorybeacon/uploads"
)

// An Upload is the metadata of a [TypeUpload] record.
type Upload struct {
	uploads.Upload
	// Blob names the file that holds the body; empty if the record does.
	Blob string
}

// The tags of an upload's fields. They are part of the format.
const (
	upKind = iota + 1
	upName
	upDevice
	upDomain
	upAgent
	upDigest
	upSize
	upReceived
	upModified
	upBeacon
	upVia
	upPeer
	upRecovered
	upBlob
	upSeq // the upload's own number, if the record is a copy under another
	upReleased
)

// AppendUpload appends u's metadata to b. The sequence number is left out
// unless the record is a copy: it is the record's.
func AppendUpload(b []byte, u *Upload, isCopy bool) []byte {
	b = putString(b, upKind, u.Kind)
	b = putString(b, upName, u.Name.String())
	b = putString(b, upDevice, u.Device.Name)
	b = putString(b, upDomain, u.Device.Domain)
	b = putString(b, upAgent, u.AgentID)
	b = putBytes(b, upDigest, u.Digest[:])
	b = putUint(b, upSize, uint64(u.Size))
	b = putTime(b, upReceived, u.Received)
	b = putTime(b, upModified, u.Modified)
	b = putString(b, upBeacon, u.Beacon)
	for _, v := range u.Via {
		b = putString(b, upVia, v)
	}
	b = putString(b, upPeer, u.Peer)
	b = putBool(b, upRecovered, u.Recovered)
	b = putString(b, upBlob, u.Blob)
	b = putBool(b, upReleased, u.Released)
	if isCopy {
		b = putUint(b, upSeq, u.Seq)
	}
	return b
}

// DecodeUpload reads the metadata of an upload whose record has number seq.
func DecodeUpload(b []byte, seq uint64) (*Upload, error) {
	u := &Upload{}
	u.Seq = seq
	err := fields(b, func(tag uint64, v []byte) error { return u.set(tag, v) })
	if err == nil && (u.Kind == "" || u.Name.IsZero()) {
		err = fmt.Errorf("metadata: upload without kind or name")
	}
	return u, err
}

func (u *Upload) set(tag uint64, v []byte) (err error) {
	switch tag {
	case upKind:
		u.Kind = string(v)
	case upName:
		err = u.Name.UnmarshalText(v)
	case upDevice:
		u.Device.Name = string(v)
	case upDomain:
		u.Device.Domain = string(v)
	case upAgent:
		u.AgentID = string(v)
	case upDigest:
		if copy(u.Digest[:], v) != len(u.Digest) {
			err = fmt.Errorf("digest of %d bytes", len(v))
		}
	case upSize:
		u.Size = int64(getUint(v))
	case upReceived:
		u.Received = getTime(v)
	case upModified:
		u.Modified = getTime(v)
	case upBeacon:
		u.Beacon = string(v)
	case upVia:
		u.Via = append(u.Via, string(v))
	case upPeer:
		u.Peer = string(v)
	case upRecovered:
		u.Recovered = getUint(v) != 0
	case upBlob:
		u.Blob = string(v)
	case upSeq:
		u.Seq = getUint(v)
	case upReleased:
		u.Released = getUint(v) != 0
	}
	return err
}

// A Glance is the part of an upload's metadata that is kept in memory. The
// slices are of the bytes it was read from.
type Glance struct {
	Seq            uint64
	Kind, Name     []byte
	Device, Domain []byte
	Peer, LastVia  []byte
	Digest, Blob   []byte
	Size           int64
	Received       int64 // Unix milliseconds
}

// Look reads part of the metadata of an upload whose record has number seq, and
// allocates nothing.
func (g *Glance) Look(b []byte, seq uint64) error {
	*g = Glance{Seq: seq}
	for len(b) > 0 {
		tag, v, rest, err := field(b)
		if err != nil {
			return err
		}
		b = rest
		g.set(tag, v)
	}
	if len(g.Kind) == 0 || len(g.Name) == 0 || len(g.Digest) != len(uploads.Digest{}) {
		return fmt.Errorf("metadata: upload without kind, name or digest")
	}
	return nil
}

func (g *Glance) set(tag uint64, v []byte) {
	switch tag {
	case upKind:
		g.Kind = v
	case upName:
		g.Name = v
	case upDevice:
		g.Device = v
	case upDomain:
		g.Domain = v
	case upDigest:
		g.Digest = v
	case upSize:
		g.Size = int64(getUint(v))
	case upReceived:
		g.Received = getTime(v).UnixMilli()
	case upVia:
		g.LastVia = v
	case upPeer:
		g.Peer = v
	case upBlob:
		g.Blob = v
	case upSeq:
		g.Seq = getUint(v)
	}
}
