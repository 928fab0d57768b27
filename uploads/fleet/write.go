package fleet

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// gzipAbove is how long a report may be that is sent as it is, for a person to
// read in the store.
const gzipAbove = 4 << 10

// A Writer makes one report. It holds it in memory, compressed once it is long:
// about 60 bytes a device.
type Writer struct {
	out  bytes.Buffer
	gzip *gzip.Writer
	line bytes.Buffer
}

// NewWriter begins a report with the line about the beacon.
func NewWriter(b Beacon) (*Writer, error) {
	b.Version = Version
	w := &Writer{}
	return w, w.write(b)
}

// Add tells of a device.
func (w *Writer) Add(d Device) error { return w.write(d) }

func (w *Writer) write(v any) error {
	w.line.Reset()
	enc := json.NewEncoder(&w.line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write fleet status: %w", err)
	}
	if w.gzip == nil && w.out.Len()+w.line.Len() > gzipAbove {
		if err := w.compress(); err != nil {
			return err
		}
	}
	_, err := w.to().Write(w.line.Bytes())
	return err
}

func (w *Writer) to() io.Writer {
	if w.gzip != nil {
		return w.gzip
	}
	return &w.out
}

func (w *Writer) compress() error {
	so := bytes.Clone(w.out.Bytes())
	w.out.Reset()
	w.gzip = gzip.NewWriter(&w.out)
	_, err := w.gzip.Write(so)
	return err
}

// Finish returns the report, and whether it is gzipped.
func (w *Writer) Finish() (body []byte, gzipped bool, err error) {
	if w.gzip != nil {
		err = errors.Join(err, w.gzip.Close())
	}
	return w.out.Bytes(), w.gzip != nil, err
}
