package revision

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
)

// A Variant is an object's bytes in one content coding; a variant is a
// representation of its own and so has a digest of its own.
type Variant struct {
	Body   []byte
	Digest [sha256.Size]byte
	ETag   string
}

// Content is bytes, whatever they are called.
type Content struct {
	Digest     [sha256.Size]byte
	ETag       string // quoted, strong: "<first 32 hex digits>"
	Size       int64
	Body       []byte   // nil for a large file: use Open
	Gzip, Zstd *Variant // nil where coding gains nothing

	root *os.Root // where the object is if Body is nil
}

// An Object is what one GET answers.
type Object struct {
	*Content
	Modified    time.Time // whole seconds, UTC
	ContentType string
	Immutable   bool // the name carries the digest
	Private     bool // of one device
	// ByAddress means that the address of the device decides what it is told:
	// If-Modified-Since alone must not be answered 304.
	ByAddress bool
}

// Open returns the bytes.
func (c *Content) Open() (io.ReadSeekCloser, error) {
	if c.Body == nil && c.root != nil {
		return c.root.Open(objectName(hex.EncodeToString(c.Digest[:])))
	}
	return memory{bytes.NewReader(c.Body)}, nil
}

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// Bounds of what is kept in memory and coded beforehand. A larger file costs
// more memory; a smaller one a disk read for each GET. Below minCoded a coding
// gains less than its headers cost.
const (
	maxInMemory  = 1 << 20
	maxAllMemory = 64 << 20 // of all files of the revision in force
	minCoded     = 256
)

// newContent prepares body, and keeps it.
func newContent(body []byte) *Content {
	if body == nil {
		body = []byte{}
	}
	c := &Content{Digest: sha256.Sum256(body), Size: int64(len(body)), Body: body}
	c.ETag = etag(c.Digest)
	if len(body) >= minCoded {
		c.Gzip, c.Zstd = variant(body, gzipped(body)), variant(body, zstded(body))
	}
	return c
}

func etag(d [sha256.Size]byte) string { return `"` + hex.EncodeToString(d[:16]) + `"` }

func variant(body, coded []byte) *Variant {
	if len(coded) > len(body)*9/10 {
		return nil
	}
	d := sha256.Sum256(coded)
	return &Variant{Body: coded, Digest: d, ETag: etag(d)}
}

// gzips are kept for the next use: each is most of a megabyte to set up.
var gzips = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(nil, gzip.BestCompression)
	if err != nil {
		panic(err) // the level is valid
	}
	return z
}}

func gzipped(body []byte) []byte {
	var b bytes.Buffer
	z := gzips.Get().(*gzip.Writer)
	defer gzips.Put(z)
	z.Reset(&b)
	z.Write(body) // to memory, like what Close writes
	z.Close()
	return b.Bytes()
}

// encoder is shared: EncodeAll may be called by many at once. The window is
// no larger than what is ever coded, because it is memory that stays.
var encoder = newEncoder()

func newEncoder() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(maxInMemory))
	if err != nil {
		panic(err) // the options are valid
	}
	return e
}

func zstded(body []byte) []byte { return encoder.EncodeAll(body, nil) }

// contentType says what a file is by its name. What .ndc and other bodies are
// is not public.
func contentType(name string) string {
	switch strings.ToLower(path.Ext(name)) {
	case ".npl", ".osd", ".nds":
		return "application/xml"
	}
	return "application/octet-stream"
}

// immutableName is name with the digest of its contents in it.
func immutableName(name string, digest [sha256.Size]byte) string {
	ext := path.Ext(name)
	return strings.TrimSuffix(name, ext) + "~" + hex.EncodeToString(digest[:8]) + ext
}
