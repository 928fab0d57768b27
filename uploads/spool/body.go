package spool

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/disk"
	"inventorybeacon/uploads/spool/journal"
)

// Body opens the bytes of a held file, which are verified first. If it has left
// the spool, or turns out to be damaged (which is then a recorded loss), the
// error matches [uploads.ErrUnknown].
func (s *Spool) Body(seq uint64) (uploads.Body, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	s.mu.Lock()
	l, ok := s.locateHeld(seq)
	s.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("%w: %d", uploads.ErrUnknown, seq)
	}
	defer s.letGo(l)
	b, err := s.read(l)
	var damage *damageError
	if !errors.As(err, &damage) {
		return b, err
	}
	if lerr := s.Lose(seq, LossDamaged, damage.Error()); lerr != nil {
		return nil, lerr
	}
	s.log.Error("upload damaged on disk", "seq", seq, "err", err)
	return nil, fmt.Errorf("%w: %d: %w", uploads.ErrUnknown, seq, err)
}

func (s *Spool) read(l *located) (uploads.Body, error) {
	if l.blob {
		u, err := s.readUpload(l)
		if err != nil {
			return nil, err
		}
		return s.readBlob(u)
	}
	room := bufferFor(l.size())
	_, body, err := readRecord(l, room.b[:l.size()])
	if err != nil {
		room.free()
		return nil, err
	}
	return &memoryBody{r: bytes.NewReader(body), room: room}, nil
}

// size is that of its record.
func (l *located) size() int64 { return journal.RecordHeader + int64(l.meta) + l.body }

// readRecord reads a record into b, which is of its size, and returns it and its
// body after having verified both.
func readRecord(l *located, b []byte) (journal.Record, []byte, error) {
	if n, err := l.record.seg.file.ReadAt(b, l.record.offset); n < len(b) {
		err = fmt.Errorf("read journal: %w", err)
		if errors.Is(err, io.EOF) { // the file was cut: no other try will find more
			err = &damageError{err}
		}
		return journal.Record{}, nil, err
	}
	r, body, err := l.record.place().Whole(b)
	if err != nil {
		return r, nil, &damageError{err}
	}
	return r, body, nil
}

func (s *Spool) readBlob(u *journal.Upload) (uploads.Body, error) {
	f, err := s.disk.Open(u.Blob)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &damageError{err}
	}
	if err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	h := sha256.New()
	n, err := io.Copy(h, io.NewSectionReader(f, 0, u.Size+1))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("read blob: %w", err)
	}
	if n != u.Size || uploads.Digest(h.Sum(nil)) != u.Digest {
		f.Close()
		return nil, &damageError{fmt.Errorf("blob %s: wrong bytes", u.Blob)}
	}
	return blobBody{io.NewSectionReader(f, 0, u.Size), f}, nil
}

// A memoryBody is in a buffer that others get once it is closed. A client that is
// still reading then, as of HTTP may be, gets an error and not their bytes.
type memoryBody struct {
	mu   sync.Mutex
	r    *bytes.Reader
	room *buffer // nil once it is closed
}

// Read implements [io.Reader].
func (b *memoryBody) Read(p []byte) (n int, err error) {
	err = b.open(func() error { n, err = b.r.Read(p); return err })
	return n, err
}

// ReadAt implements [io.ReaderAt].
func (b *memoryBody) ReadAt(p []byte, off int64) (n int, err error) {
	err = b.open(func() error { n, err = b.r.ReadAt(p, off); return err })
	return n, err
}

// Seek implements [io.Seeker].
func (b *memoryBody) Seek(offset int64, whence int) (at int64, err error) {
	err = b.open(func() error { at, err = b.r.Seek(offset, whence); return err })
	return at, err
}

func (b *memoryBody) open(read func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.room == nil {
		return fs.ErrClosed
	}
	return read()
}

// Close implements [io.Closer].
func (b *memoryBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.room != nil {
		b.room.free()
		b.room = nil
	}
	return nil
}

type blobBody struct {
	*io.SectionReader
	f disk.File
}

func (b blobBody) Close() error { return b.f.Close() }

// now is the time that goes into records.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
