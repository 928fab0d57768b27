package document

import (
	"bytes"
	"io"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// bufferBytes is what is read at a time.
const bufferBytes = 16 << 10

// An input is a window on what is being read.
type input struct {
	r        io.Reader
	buf      []byte
	pos, end int
	base     int64 // where buf begins
	from     int64 // where the token at hand begins
	err      error
}

func (in *input) reset(r io.Reader) {
	in.r, in.pos, in.end, in.base, in.from, in.err = r, 0, 0, 0, 0, nil
}

func (in *input) offset() int64 { return in.base + int64(in.pos) }

// more reports whether there is a byte at pos; if not, err says why.
func (in *input) more() bool { return in.pos < in.end || in.fill(1) }

// fill reads until n bytes are at hand from pos on, if there are so many.
func (in *input) fill(n int) bool {
	if in.err == nil && in.offset()-in.from > MaxToken {
		in.err = in.fail("a name, value or text is longer than %d bytes", MaxToken)
	}
	in.base += int64(in.pos)
	in.end = copy(in.buf, in.buf[in.pos:in.end])
	in.pos = 0
	for in.end < n && in.err == nil {
		var got int
		got, in.err = in.r.Read(in.buf[in.end:])
		in.end += got
	}
	return in.end >= n
}

// ended returns why there is no more.
func (in *input) ended() error {
	if in.err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return in.err
}

// at reports whether the next bytes are these, and passes them if so.
func (in *input) at(s string) bool {
	if in.end-in.pos < len(s) && !in.fill(len(s)) || string(in.buf[in.pos:in.pos+len(s)]) != s {
		return false
	}
	in.pos += len(s)
	return true
}

// cut reports whether the input ends within what might have been these bytes.
func (in *input) cut(s string) bool {
	rest := in.buf[in.pos:in.end]
	return in.err != nil && len(rest) < len(s) && s[:len(rest)] == string(rest)
}

var utf8Mark = []byte("\xef\xbb\xbf")

// decode passes the mark of UTF-8, and turns UTF-16 into it.
func (in *input) decode() {
	in.fill(3)
	head := in.buf[:in.end]
	if bytes.HasPrefix(head, utf8Mark) {
		in.pos = len(utf8Mark)
		return
	}
	if len(head) < 2 {
		return
	}
	order := unicode.BigEndian
	switch [2]byte(head) {
	case [2]byte{0xff, 0xfe}, [2]byte{'<', 0}:
		order = unicode.LittleEndian
	case [2]byte{0xfe, 0xff}, [2]byte{0, '<'}:
	default:
		return
	}
	raw := io.MultiReader(bytes.NewReader(bytes.Clone(head)), in.r)
	in.reset(transform.NewReader(raw, unicode.UTF16(order, unicode.UseBOM).NewDecoder()))
}
