package archive

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"iter"
)

// A Held names a file of an archive that the importer has durably.
type Held struct {
	Seq     uint64 `json:"seq"` // the exporter's
	Receipt string `json:"receipt"`
}

// An AckWriter writes an acknowledgement: a [Header], a [Held] for each file, a
// [Manifest], and the signature over the manifest's line in base64; a line each,
// each with a Write of its own.
type AckWriter struct {
	w    io.Writer
	seal *seal
	sign func([]byte) []byte
}

// NewAck begins an acknowledgement.
func NewAck(w io.Writer, h Header, sign func([]byte) []byte) (*AckWriter, error) {
	h.Format, h.Version = FormatAcknowledgement, Version
	a := &AckWriter{w, newSeal(h), sign}
	return a, a.write(h)
}

func (a *AckWriter) write(v any) error {
	line, err := a.seal.line(v)
	if err == nil {
		_, err = a.w.Write(line)
	}
	if err != nil {
		return fmt.Errorf("write acknowledgement: %w", err)
	}
	return nil
}

// Add acknowledges a file.
func (a *AckWriter) Add(f Held) error {
	a.seal.files++
	return a.write(f)
}

// Close signs and ends it.
func (a *AckWriter) Close() error {
	m := a.seal.manifest()
	line, err := a.seal.line(m)
	if err == nil {
		_, err = a.w.Write(line)
	}
	if err == nil {
		_, err = io.WriteString(a.w, base64.StdEncoding.EncodeToString(a.sign(line))+"\n")
	}
	if err != nil {
		return fmt.Errorf("end acknowledgement: %w", err)
	}
	return nil
}

// An Acknowledgement is one whose signature was verified.
type Acknowledgement struct {
	Header   Header
	Manifest Manifest
	r        io.ReadSeeker
}

// OpenAck reads an acknowledgement and verifies, as [Open] does, that it is
// complete and unchanged.
func OpenAck(r io.ReadSeeker, trusted ed25519.PublicKey) (*Acknowledgement, error) {
	in, err := readLines(r)
	if err != nil {
		return nil, err
	}
	line, err := in.line()
	if err != nil {
		return nil, ErrOther
	}
	s, err := begin(line, FormatAcknowledgement, trusted)
	if err != nil {
		return nil, err
	}
	for {
		if line, err = in.line(); err != nil {
			return nil, err
		}
		if bytes.Contains(line, []byte(`"format"`)) { // a receipt cannot hold that
			break
		}
		s.counted(line, 0)
	}
	line = bytes.Clone(line)
	text, err := in.line()
	if err != nil {
		return nil, err
	}
	signature, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		return nil, fmt.Errorf("%w: signature: %w", ErrBroken, err)
	}
	if _, err := in.ReadByte(); err != io.EOF {
		return nil, fmt.Errorf("%w: it does not end with its signature", ErrBroken)
	}
	m, err := s.check(line, signature)
	if err != nil {
		return nil, err
	}
	return &Acknowledgement{s.header, m, r}, nil
}

// Files reads what is acknowledged. An error is the last it yields.
func (a *Acknowledgement) Files() iter.Seq2[Held, error] {
	return func(yield func(Held, error) bool) {
		in, err := readLines(a.r)
		if err == nil {
			_, err = in.line()
		}
		for n := 0; err == nil && n < a.Manifest.Files; n++ {
			var line []byte
			var f Held
			if line, err = in.line(); err != nil {
				break
			}
			if err = json.Unmarshal(line, &f); err == nil && !yield(f, nil) {
				return
			}
		}
		if err != nil {
			yield(Held{}, fmt.Errorf("%w: %w", ErrBroken, err))
		}
	}
}

type lines struct{ *bufio.Reader }

func readLines(r io.ReadSeeker) (lines, error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return lines{}, fmt.Errorf("read acknowledgement: %w", err)
	}
	return lines{bufio.NewReaderSize(r, maxLine)}, nil
}

// line returns the next line with its end, valid until the next call.
func (l lines) line() ([]byte, error) {
	b, err := l.ReadSlice('\n')
	switch err {
	case nil:
		return b, nil
	case io.EOF, bufio.ErrBufferFull:
		return nil, fmt.Errorf("%w: it ends early, or a line is too long", ErrBroken)
	}
	return nil, fmt.Errorf("read acknowledgement: %w", err)
}

// IsAck reports whether a file looks like an acknowledgement, and not an archive.
func IsAck(r io.ReadSeeker) (bool, error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	var first [1]byte
	if _, err := io.ReadFull(r, first[:]); err != nil {
		return false, ErrOther
	}
	return first[0] == '{', nil
}
