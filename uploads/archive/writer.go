package archive

import (
	"archive/tar"
	"fmt"
	"io"
	"time"
)

// The entries of the tar.
const (
	headerName    = "archive.json"
	manifestName  = "manifest.json"
	signatureName = "manifest.sig"
)

func bodyName(n int) string  { return fmt.Sprintf("files/%09d", n) }
func entryName(n int) string { return bodyName(n) + ".json" }

// A Writer writes an archive as it goes, and holds no body in memory.
type Writer struct {
	tar  *tar.Writer
	seal *seal
	sign func([]byte) []byte
}

// NewWriter begins an archive. sign makes signatures with the key whose public
// part is in the header.
func NewWriter(w io.Writer, h Header, sign func([]byte) []byte) (*Writer, error) {
	h.Format, h.Version = FormatArchive, Version
	a := &Writer{tar.NewWriter(w), newSeal(h), sign}
	line, err := a.seal.line(h)
	if err == nil {
		err = a.small(headerName, line)
	}
	if err != nil {
		return nil, fmt.Errorf("begin archive: %w", err)
	}
	return a, nil
}

func (a *Writer) small(name string, b []byte) error {
	if err := a.member(name, int64(len(b)), a.seal.header.Created); err != nil {
		return err
	}
	_, err := a.tar.Write(b)
	return err
}

func (a *Writer) member(name string, size int64, at time.Time) error {
	return a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: at.Truncate(time.Second)})
}

// Add adds a file. After an error the archive cannot be finished.
func (a *Writer) Add(e Entry, body io.Reader) error {
	n := a.seal.files + 1
	line, err := a.seal.line(e)
	if err == nil {
		err = a.small(entryName(n), line)
	}
	if err == nil {
		err = a.member(bodyName(n), e.Bytes, e.Received)
	}
	if err == nil {
		_, err = io.CopyN(a.tar, body, e.Bytes)
	}
	if err != nil {
		return fmt.Errorf("add %s/%s to archive: %w", e.Kind, e.Name, err)
	}
	a.seal.files, a.seal.bytes = n, a.seal.bytes+e.Bytes
	return nil
}

// Close signs and ends the archive, and not what it is written to.
func (a *Writer) Close() (Manifest, error) {
	m := a.seal.manifest()
	line, err := a.seal.line(m)
	if err == nil {
		err = a.small(manifestName, line)
	}
	if err == nil {
		err = a.small(signatureName, a.sign(line))
	}
	if err == nil {
		err = a.tar.Close()
	}
	if err != nil {
		return m, fmt.Errorf("end archive: %w", err)
	}
	return m, nil
}
