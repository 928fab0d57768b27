package resumable

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
)

// Version is that of the state file. A newer one is left alone.
const Version = 1

// ErrNewer means that a newer version of the program wrote a state file.
var ErrNewer = errors.New("written by a newer version")

// A state file is lines of JSON, each behind the CRC-32C of its JSON in hex and
// a space. The first is a birth, the others are steps.
type birth struct {
	Version   int             `json:"version"`
	Created   time.Time       `json:"created"`
	Kind      string          `json:"kind"`
	Name      string          `json:"name"`
	Device    string          `json:"device,omitempty"`
	Domain    string          `json:"domain,omitempty"`
	AgentID   string          `json:"agent,omitempty"`
	Peer      string          `json:"peer,omitempty"`
	Via       []string        `json:"via,omitempty"`
	Length    int64           `json:"length"` // -1: unknown
	MaxBytes  int64           `json:"max_bytes,omitempty"`
	SHA256    *uploads.Digest `json:"sha256,omitempty"`
	SHA512    string          `json:"sha512,omitempty"`
	Modified  time.Time       `json:"modified,omitzero"`
	Recovered bool            `json:"recovered,omitempty"`
}

// A step says how far the upload has got.
type step struct {
	At     time.Time `json:"at"`
	Offset int64     `json:"offset"`
	Length int64     `json:"length"` // -1: unknown
	// Done holds the digest of the whole once the spool has it; From is where the
	// last request began.
	Done *uploads.Digest `json:"done,omitempty"`
	From int64           `json:"from,omitempty"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// line returns v as a line of the file.
func line(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings, numbers and times always marshal
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(b, castagnoli), b)
}

// nextLine cuts the first line off b. It reports false if that is not whole or
// not what was written.
func nextLine(b []byte) (text, rest []byte, ok bool) {
	raw, rest, whole := bytes.Cut(b, []byte("\n"))
	var sum [4]byte
	if !whole || len(raw) < 9 || raw[8] != ' ' {
		return nil, nil, false
	}
	if _, err := hex.Decode(sum[:], raw[:8]); err != nil {
		return nil, nil, false
	}
	text = raw[9:]
	want := uint32(sum[0])<<24 | uint32(sum[1])<<16 | uint32(sum[2])<<8 | uint32(sum[3])
	return text, rest, crc32.Checksum(text, castagnoli) == want
}

var errDamaged = errors.New("the state is damaged")

// readState reads a state file. size is how much of it is sound: a last line
// that is torn was never told to anybody. A damaged line in front of a sound one
// is another matter.
func readState(b []byte) (d Draft, created time.Time, last step, size int64, err error) {
	text, rest, ok := nextLine(b)
	var head birth
	if !ok || json.Unmarshal(text, &head) != nil {
		return d, created, last, 0, errDamaged
	}
	if head.Version > Version {
		return d, created, last, 0, ErrNewer
	}
	if d, err = head.draft(); err != nil {
		return d, created, last, 0, err
	}
	last = step{At: head.Created, Length: head.Length}
	for len(rest) > 0 {
		text, after, ok := nextLine(rest)
		var next step
		if !ok || json.Unmarshal(text, &next) != nil {
			if soundAfter(rest) {
				return d, created, last, 0, errDamaged
			}
			break
		}
		last, rest = next, after
	}
	d.Length = last.Length
	return d, head.Created, last, int64(len(b) - len(rest)), nil
}

// soundAfter reports whether a sound line follows the first one of b.
func soundAfter(b []byte) bool {
	for {
		_, rest, whole := bytes.Cut(b, []byte("\n"))
		if !whole || len(rest) == 0 {
			return false
		}
		if _, _, ok := nextLine(rest); ok {
			return true
		}
		b = rest
	}
}

func (d *Draft) birth(created time.Time) birth {
	return birth{
		Version: Version, Created: created, Kind: d.Kind, Name: d.Name.String(),
		Device: d.Device.Name, Domain: d.Device.Domain, AgentID: d.AgentID, Peer: d.Peer, Via: d.Via,
		Length: d.Length, MaxBytes: d.MaxBytes, SHA256: d.Want, SHA512: hex.EncodeToString(d.Wide),
		Modified: d.Modified.UTC(), Recovered: d.Recovered,
	}
}

func (h *birth) draft() (Draft, error) {
	name, err := uploads.ParseName(h.Name)
	if err != nil {
		return Draft{}, fmt.Errorf("%w: %w", errDamaged, err)
	}
	wide, err := hex.DecodeString(h.SHA512)
	if err != nil {
		return Draft{}, fmt.Errorf("%w: %w", errDamaged, err)
	}
	d := Draft{Draft: spool.Draft{
		Kind: h.Kind, Name: name, Device: uploads.Device{Domain: h.Domain, Name: h.Device}, AgentID: h.AgentID,
		Peer: h.Peer, Via: h.Via, Length: h.Length, MaxBytes: h.MaxBytes, Want: h.SHA256,
		Modified: h.Modified, Recovered: h.Recovered,
	}}
	if len(wide) > 0 {
		d.Wide = wide
	}
	return d, nil
}
