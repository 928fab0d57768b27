package archive

import (
	"archive/tar"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
)

// An Archive is one whose signature was verified.
type Archive struct {
	Header   Header
	Manifest Manifest
	r        io.ReadSeeker
}

// A File is one in an archive. Its body is to be read before the next file is
// asked for.
type File struct {
	Entry
	Place string // its name in the tar
	Body  io.Reader
}

// Open reads an archive's lines, passing over the bodies, and verifies that
// trusted signed them; with nil, that the key in the archive did. What it returns
// is complete and unchanged but for the bodies, whose digests Files gives.
func Open(r io.ReadSeeker, trusted ed25519.PublicKey) (*Archive, error) {
	in, err := read(r)
	if err != nil {
		return nil, err
	}
	line, err := in.small(headerName)
	if err != nil {
		return nil, ErrOther
	}
	s, err := begin(line, FormatArchive, trusted)
	if err != nil {
		return nil, err
	}
	m, err := in.rest(s)
	if err != nil {
		return nil, fmt.Errorf("after %d files: %w", s.files, err)
	}
	return &Archive{s.header, m, r}, nil
}

// rest reads from the first file to the end.
func (in *input) rest(s *seal) (m Manifest, err error) {
	for {
		_, line, err := in.entry(s)
		if err == io.EOF {
			break
		}
		if err != nil {
			return m, err
		}
		if err := in.body(line, s); err != nil {
			return m, err
		}
	}
	manifest, err := in.content()
	if err != nil {
		return m, err
	}
	signature, err := in.small(signatureName)
	if err != nil {
		return m, err
	}
	if _, err := in.tar.Next(); err != io.EOF {
		return m, fmt.Errorf("%w: it does not end with its signature", ErrBroken)
	}
	return s.check(manifest, signature)
}

// Files reads the files in order. An error is the last it yields, and of the
// archive as a whole; one of a single body is the body's own.
func (a *Archive) Files() iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		in, err := read(a.r)
		if err == nil {
			_, err = in.small(headerName)
		}
		for n := 0; err == nil && n < a.Manifest.Files; n++ {
			var f File
			if f, err = in.file(n + 1); err == nil && !yield(f, nil) {
				return
			}
		}
		if err != nil {
			yield(File{}, err)
		}
	}
}

func (in *input) file(n int) (f File, err error) {
	line, err := in.small(entryName(n))
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(line, &f.Entry); err != nil {
		return f, fmt.Errorf("%w: %s: %w", ErrBroken, entryName(n), err)
	}
	if err := in.next(bodyName(n)); err != nil {
		return f, err
	}
	f.Place, f.Body = bodyName(n), in.tar
	return f, nil
}

// An input is a tar being read.
type input struct {
	tar *tar.Reader
	now *tar.Header
}

func read(r io.ReadSeeker) (*input, error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	return &input{tar: tar.NewReader(r)}, nil
}

// next goes to the next member, which must have that name.
func (in *input) next(name string) (err error) {
	in.now, err = in.tar.Next()
	switch {
	case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: it ends before %s", ErrBroken, name)
	case errors.Is(err, tar.ErrHeader):
		return fmt.Errorf("%w: where %s should be: %w", ErrBroken, name, err)
	case err != nil:
		return fmt.Errorf("read archive: %w", err)
	case in.now.Typeflag != tar.TypeReg || in.now.Name != name:
		return fmt.Errorf("%w: %q is where %s should be", ErrBroken, in.now.Name, name)
	}
	return nil
}

func (in *input) small(name string) ([]byte, error) {
	if err := in.next(name); err != nil {
		return nil, err
	}
	return in.content()
}

func (in *input) content() ([]byte, error) {
	if in.now.Size > maxLine {
		return nil, fmt.Errorf("%w: %s has %d bytes", ErrBroken, in.now.Name, in.now.Size)
	}
	b, err := io.ReadAll(in.tar)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("%w: it ends in %s", ErrBroken, in.now.Name)
	}
	return b, err
}

// entry reads the next file's line; io.EOF at the manifest.
func (in *input) entry(s *seal) (e Entry, line []byte, err error) {
	err = in.next(entryName(s.files + 1))
	if err != nil && in.now != nil && in.now.Name == manifestName {
		return e, nil, io.EOF
	}
	if err == nil {
		line, err = in.content()
	}
	return e, line, err
}

// body passes over a file's body, and counts it.
func (in *input) body(line []byte, s *seal) error {
	var e Entry
	if err := json.Unmarshal(line, &e); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrBroken, in.now.Name, err)
	}
	if err := in.next(bodyName(s.files + 1)); err != nil {
		return err
	}
	s.counted(line, e.Bytes)
	return nil
}
