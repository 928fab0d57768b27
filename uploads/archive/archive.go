// Package archive is the file in which uploads are carried by hand from one
// beacon to another, and the acknowledgement that is carried back.
//
// An archive is a tar. Its bodies are as they were sent, most of them compressed
// already, so that one damaged byte spoils one file and a check of the rest passes
// over them:
//
//	archive.json           a Header
//	files/000000001.json   an Entry, one line
//	files/000000001        its body
//	…
//	manifest.json          a Manifest: the SHA-256 over all lines before it, in order
//	manifest.sig           the exporter's Ed25519 signature over manifest.json
//
// The signature covers every line, and the lines hold the digests of the bodies.
// An acknowledgement is lines of text, sealed in the same way.
package archive

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"time"

	"inventorybeacon/uploads"
)

// Version is the newest format of archives and acknowledgements, which is
// written; older ones are read.
const Version = 1

// The formats.
const (
	FormatArchive         = "beacon-uploads-archive"
	FormatAcknowledgement = "beacon-uploads-acknowledgement"
)

// Errors of a file as a whole. Nothing of it should be used.
var (
	// ErrOther means that the file is something else.
	ErrOther = errors.New("it is neither an archive of uploads nor an acknowledgement of one")
	// ErrNewer means that a newer version wrote it.
	ErrNewer = errors.New("a newer version wrote it: bring this beacon up to date")
	// ErrKey means that another key than the trusted one signed it.
	ErrKey = errors.New("it is signed with another key than the one that is trusted")
	// ErrBroken means that it is damaged, cut off or was changed.
	ErrBroken = errors.New("it is damaged, cut off or was changed")
)

// A Header is what a file says of itself first.
type Header struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	Beacon  string    `json:"beacon"` // identity of the one that made it
	Key     []byte    `json:"key"`    // its public key, 32 bytes, in base64 as JSON
	Created time.Time `json:"created"`
	// Sink is the destination whose files these are; empty for all.
	Sink string `json:"sink,omitempty"`
	// Of an acknowledgement, From is the beacon that made the archive, and Archive
	// the digest in its manifest.
	From    string          `json:"from,omitempty"`
	Archive *uploads.Digest `json:"archive,omitempty"`
}

// An Entry is what an exporting beacon knows of a file. The reader checks
// nothing of what it says.
type Entry struct {
	Seq       uint64         `json:"seq"` // the exporter's number, for the way back
	Receipt   string         `json:"receipt"`
	Kind      string         `json:"kind"`
	Name      string         `json:"name"`
	Device    string         `json:"device,omitempty"`
	Domain    string         `json:"domain,omitempty"`
	Agent     string         `json:"agent,omitempty"`
	SHA256    uploads.Digest `json:"sha256"`
	Bytes     int64          `json:"bytes"`
	Received  time.Time      `json:"received"`
	Modified  time.Time      `json:"modified,omitzero"`
	Beacon    string         `json:"beacon"`
	Via       []string       `json:"via,omitempty"` // before the exporter, oldest first
	Recovered bool           `json:"recovered,omitempty"`
	Released  bool           `json:"released,omitempty"`
	Flag      string         `json:"flag,omitempty"`
}

// EntryOf returns the entry of an upload.
func EntryOf(u uploads.Upload) Entry {
	return Entry{
		Seq: u.Seq, Receipt: uploads.ReceiptID(u.Kind, u.Name, u.Digest), Kind: u.Kind, Name: u.Name.String(),
		Device: u.Device.Name, Domain: u.Device.Domain, Agent: u.AgentID, SHA256: u.Digest, Bytes: u.Size,
		Received: u.Received, Modified: u.Modified, Beacon: u.Beacon, Via: u.Via, Recovered: u.Recovered, Released: u.Released,
	}
}

// A Manifest ends a file and is what the signature is over.
type Manifest struct {
	Format  string         `json:"format"`
	Version int            `json:"version"`
	Beacon  string         `json:"beacon"`
	Files   int            `json:"files"`
	Bytes   int64          `json:"bytes"`
	SHA256  uploads.Digest `json:"sha256"`
}

// maxLine bounds a line, and so what a reader holds of a file that somebody made up.
const maxLine = 64 << 10

// A seal is what the lines add up to.
type seal struct {
	header Header
	sum    hash.Hash
	files  int
	bytes  int64
}

func newSeal(h Header) *seal { return &seal{header: h, sum: sha256.New()} }

// line writes v as one line and counts it.
func (s *seal) line(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	if len(b) > maxLine {
		return nil, fmt.Errorf("%d bytes of metadata; %d are possible", len(b), maxLine)
	}
	s.sum.Write(b)
	return b, nil
}

// counted takes note of a line that was read.
func (s *seal) counted(line []byte, bytes int64) {
	s.sum.Write(line)
	s.files++
	s.bytes += bytes
}

func (s *seal) manifest() Manifest {
	return Manifest{s.header.Format, s.header.Version, s.header.Beacon, s.files, s.bytes, uploads.Digest(s.sum.Sum(nil))}
}

// begin reads the first line. Every file is one that somebody made up until its
// signature was verified.
func begin(line []byte, format string, trusted ed25519.PublicKey) (*seal, error) {
	var h Header
	if err := json.Unmarshal(line, &h); err != nil || h.Format != format {
		return nil, ErrOther
	}
	switch {
	case h.Version > Version:
		return nil, ErrNewer
	case len(h.Key) != ed25519.PublicKeySize:
		return nil, fmt.Errorf("%w: no public key in it", ErrBroken)
	case trusted != nil && !bytes.Equal(trusted, h.Key):
		return nil, fmt.Errorf("%w: it says to be from %q", ErrKey, h.Beacon)
	}
	s := newSeal(h)
	s.sum.Write(line)
	return s, nil
}

// check compares what was read with what was signed.
func (s *seal) check(line, signature []byte) (m Manifest, err error) {
	if !ed25519.Verify(s.header.Key, line, signature) {
		return m, fmt.Errorf("%w: the signature is not over this manifest", ErrBroken)
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return m, fmt.Errorf("%w: manifest: %w", ErrBroken, err)
	}
	if m != s.manifest() {
		return m, fmt.Errorf("%w: what it holds is not what was signed", ErrBroken)
	}
	return m, nil
}
