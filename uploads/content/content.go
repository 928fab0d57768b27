// Package content judges whether what is in an upload is what its name says.
// Inventories (.ndi) and usage (.mmi) are XML documents with the root element of
// their kind, files whose name ends in .gz inflate, and .zip files begin like
// one. Of other files nothing is known that could be judged.
//
// [Head] looks at the first bytes, at next to no cost; [Check] reads all, in
// constant memory. Neither opens a file or a connection.
package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/document"
)

// HeadBytes is how many of a file's first bytes are worth giving to [Head].
// More would slow every upload; fewer would leave the root elements of honest
// documents out.
const HeadBytes = 4 << 10

// FewBytes are worth giving to it first: compressed, they hold the root element
// of most documents, at a fraction of the work of all.
const FewBytes = 512

// A format is how a file begins, and what it is all of.
type format struct {
	root  string // of an XML document
	magic []string
}

// formats are those of the extensions that say what is in a file. Their names
// and the documents' are the incumbent's.
var formats = map[string]format{
	".ndi": {root: "Inventory"},
	".mmi": {root: "USAGE"},
	".zip": {magic: []string{"PK\x03\x04", "PK\x05\x06", "PK\x07\x08"}},
}

// Judged reports whether anything could be wrong with a file of that name.
func Judged(name uploads.Name) bool {
	_, known := formats[name.Ext()]
	return known || name.Compressed()
}

// A finding is what is wrong with a file, in words that hold nothing of what is
// in it.
type finding struct{ why string }

func (f *finding) Error() string { return fmt.Sprintf("%v: %s", uploads.ErrContent, f.why) }
func (f *finding) Unwrap() error { return uploads.ErrContent }

func found(format string, args ...any) error { return &finding{fmt.Sprintf(format, args...)} }

// Words returns what a finding says, for a person.
func Words(err error) string {
	if f, ok := errors.AsType[*finding](err); ok {
		return f.why
	}
	return err.Error()
}

// Head judges the first bytes of a file; whole says that there are no more. It
// returns what the root element of a document says, if all of its start tag is there, and an
// error matching [uploads.ErrContent] if the file can only be bad. What shows
// later is left to [Check].
func Head(name uploads.Name, head []byte, whole bool) (document.Root, error) {
	if !Judged(name) {
		return document.Root{}, nil
	}
	root, err := begin(name, head)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		root, err = document.Root{}, nil // half a start tag says nothing
		if whole {
			err = found("it ends before it has begun")
		}
	}
	return root, err
}

func begin(name uploads.Name, head []byte) (document.Root, error) {
	f := formats[name.Ext()]
	if !name.Compressed() {
		return f.begin(bytes.NewReader(head))
	}
	return inflated(f, head)
}

// begin judges a file by its beginning; [io.ErrUnexpectedEOF] says that it is
// too short for that.
func (f format) begin(r io.Reader) (document.Root, error) {
	if f.root == "" {
		return document.Root{}, f.start(r)
	}
	root, err := document.Begin(r)
	return root, f.judge(root, err)
}

// judge turns what became of reading a document into a verdict on it.
func (f format) judge(root document.Root, err error) error {
	if bad, ok := errors.AsType[*document.Error](err); ok {
		return found("it is no sound XML: %v", bad)
	}
	if err == nil && !root.Is(f.root) {
		return found("its root element is not %s", f.root)
	}
	return err
}

// start compares the first bytes with those that the format may begin with.
func (f format) start(r io.Reader) error {
	if f.magic == nil {
		return nil
	}
	b := make([]byte, len(f.magic[0]))
	n, err := io.ReadFull(r, b)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	for _, m := range f.magic {
		if m[:n] != string(b[:n]) {
			continue
		}
		if n < len(m) {
			return io.ErrUnexpectedEOF
		}
		return nil
	}
	return found("it does not begin as its extension says")
}

// Check judges all of a file of size bytes whose limit is max, before and after
// inflating. It returns an error matching [uploads.ErrContent] if the file is
// bad, else what reading failed with, or ctx's error. While it works it lets
// others go first.
func Check(ctx context.Context, name uploads.Name, body io.Reader, size, max int64) error {
	f := formats[name.Ext()]
	src := &source{ctx: ctx, r: body}
	var err error
	if name.Compressed() {
		err = f.inflate(src, allowed(size, max))
	} else {
		err = f.all(src)
	}
	switch {
	case src.err != nil && src.err != io.EOF:
		return src.err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return found("it ends too early")
	}
	return err
}

// all judges a file by all of it.
func (f format) all(r io.Reader) error {
	if f.root != "" {
		root, err := document.Read(r)
		return f.judge(root, err)
	}
	return f.start(r)
}

// A source is the file as it was sent, and remembers what reading it failed
// with: that is no fault of the file.
type source struct {
	ctx context.Context
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (n int, err error) {
	runtime.Gosched() // uploads are more urgent
	if s.err = s.ctx.Err(); s.err != nil {
		return 0, s.err
	}
	n, s.err = s.r.Read(p)
	return n, s.err
}
