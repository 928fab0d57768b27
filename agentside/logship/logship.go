// Package logship keeps the agent's own log in bounded pieces and hands the
// finished ones over to be sent.
package logship

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/DeRuina/timberjack"
)

const (
	fileName = "agent.log"
	// maxMegabytes bounds one piece. A larger one is less often cut in the middle
	// of a story; a smaller one takes less memory to compress.
	maxMegabytes = 4
	// maxPieces bounds how many pieces wait when they cannot be handed over; the
	// oldest goes first.
	maxPieces = 5
)

// A Log is where the agent's log is written. Its methods may be called from
// several goroutines.
type Log struct {
	dir string
	out *timberjack.Logger
}

// Open opens the log in dir, which must exist. Nothing is written before the
// first Write.
func Open(dir string) *Log {
	return &Log{dir: dir, out: &timberjack.Logger{
		Filename: filepath.Join(dir, fileName), MaxSize: maxMegabytes, MaxBackups: maxPieces, Compression: "none", FileMode: 0o640,
	}}
}

var _ io.WriteCloser = (*Log)(nil)

// Write implements [io.Writer].
func (l *Log) Write(p []byte) (int, error) { return l.out.Write(p) }

// Close closes the file.
func (l *Log) Close() error { return l.out.Close() }

// A Put stores a compressed piece that was last written to at written. It is
// durable on return.
type Put func(ctx context.Context, written time.Time, gz []byte) error

// Ship finishes the current piece and hands over all finished ones, oldest
// first. It returns how many; one that could not be handed over stays, with
// those after it.
func (l *Log) Ship(ctx context.Context, put Put) (int, error) {
	if info, err := os.Stat(filepath.Join(l.dir, fileName)); err == nil && info.Size() > 0 {
		if err := l.out.Rotate(); err != nil {
			return 0, fmt.Errorf("rotate log: %w", err)
		}
	}
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return 0, fmt.Errorf("ship log: %w", err)
	}
	shipped := 0
	for _, e := range entries {
		if !piece.MatchString(e.Name()) || !e.Type().IsRegular() {
			continue
		}
		if err := ship(ctx, filepath.Join(l.dir, e.Name()), put); err != nil {
			return shipped, fmt.Errorf("ship log %s: %w", e.Name(), err)
		}
		shipped++
	}
	return shipped, nil
}

// piece matches the names of finished pieces, which sort by age.
var piece = regexp.MustCompile(`^agent-\d{4}-\d\d-\d\dT[\d.-]+-\w+\.log$`)

func ship(ctx context.Context, path string, put Put) error {
	info, err := os.Stat(path)
	if err != nil {
		return notGone(err)
	}
	gz, err := compress(path)
	if err != nil {
		return notGone(err)
	}
	if err := put(ctx, info.ModTime(), gz); err != nil {
		return err
	}
	return notGone(os.Remove(path))
}

// notGone forgives what was removed meanwhile because there was too much.
func notGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// compress gives the same bytes every time, so that a repeat is one.
func compress(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.Copy(w, f); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
