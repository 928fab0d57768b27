package content

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/document"
)

const (
	// MaxRatio is how many times its size a file may inflate to. Inventories
	// reach 20, deflate 1032: a higher ratio lets smaller files burden whoever
	// inflates them, a lower one could refuse an inventory that repeats itself.
	MaxRatio = 100
	// FreeBytes of an inflated file are never too many, so that a short file may
	// consist of repetitions.
	FreeBytes = 16 << 20
)

// maxPadding bounds the zeros behind a file. Tapes and tools that copy by blocks
// fill up less than this; more would have to be read for nothing.
const maxPadding = 1 << 20

var errBehind = found("something that is no gzip follows its end")

// allowed is how much a file of size bytes may inflate to.
func allowed(size, max int64) int64 {
	if size > max/MaxRatio {
		return max
	}
	return min(max, size*MaxRatio+FreeBytes)
}

// An inflater is 40 KiB and more; one for each upload would keep the collector
// busy.
var inflaters = sync.Pool{New: func() any { return new(gzip.Reader) }}

// headBytes is as far as a head is inflated: a root element behind more than
// that is found after the answer.
const headBytes = 64 << 10

// inflated judges a compressed file by its beginning.
func inflated(f format, head []byte) (document.Root, error) {
	r, err := newInflating(bytes.NewReader(head), FreeBytes)
	defer r.release()
	if err != nil || f.root == "" && f.magic == nil {
		return document.Root{}, err
	}
	return f.begin(io.LimitReader(r, headBytes))
}

// inflate judges all of a compressed file.
func (f format) inflate(src io.Reader, most int64) error {
	r, err := newInflating(bufio.NewReaderSize(src, HeadBytes), most)
	defer r.release()
	if err != nil {
		return err
	}
	if err := f.all(r); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r) // its checksum, and whatever follows
	return err
}

// A byteSource is what an inflater reads no further than it must.
type byteSource interface {
	io.Reader
	io.ByteScanner
}

// inflating bounds what comes out, and tells what is wrong with what goes in. A
// file may have several members, one behind the other.
type inflating struct {
	src  byteSource
	zr   *gzip.Reader
	left int64
}

func newInflating(src byteSource, most int64) (*inflating, error) {
	r := &inflating{src: src, zr: inflaters.Get().(*gzip.Reader), left: most}
	return r, broken(short(r.member()))
}

// short turns the end of a file, where a member must be, into an early one.
func short(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (r *inflating) release() { inflaters.Put(r.zr) }

// member begins the next one.
func (r *inflating) member() error {
	err := r.zr.Reset(r.src)
	r.zr.Multistream(false)
	return err
}

func (r *inflating) Read(p []byte) (int, error) {
	n, err := r.zr.Read(p)
	if r.left -= int64(n); r.left < 0 {
		return 0, found("it inflates to more than it may: to %d times its size, or past the limit of its kind", MaxRatio)
	}
	if err == io.EOF {
		err = r.next()
	}
	return n, broken(err)
}

// next begins the member that follows, if anything does.
func (r *inflating) next() error {
	first, err := r.src.ReadByte()
	if err != nil {
		return err
	}
	if first == 0 {
		return r.padding()
	}
	if err := r.src.UnreadByte(); err != nil {
		return err
	}
	if first != 0x1f { // what a member begins with
		return errBehind
	}
	return short(r.member())
}

// padding reads zeros up to the end, such as writers of whole blocks leave there;
// gzip passes them over, too. The first was read.
func (r *inflating) padding() error {
	for range maxPadding {
		switch b, err := r.src.ReadByte(); {
		case err != nil:
			return err
		case b != 0:
			return errBehind
		}
	}
	return errBehind
}

// broken turns a fault of the compression into a finding. An early end stays
// what it is, and so does what was not the file's fault.
func broken(err error) error {
	switch {
	case err == nil, err == io.EOF, errors.Is(err, uploads.ErrContent):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	}
	return found("it is no sound gzip")
}
