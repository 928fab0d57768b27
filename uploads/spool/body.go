package spool

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	e := s.pin(seq)
	if e == nil {
		return nil, fmt.Errorf("%w: %d", uploads.ErrUnknown, seq)
	}
	defer s.unpin(e)
	b, err := s.read(e.entry, e.seg, e.rec, e.length)
	var damage *damageError
	if !errors.As(err, &damage) {
		return b, err
	}
	if lerr := s.Lose(seq, LossDamaged, damage.Error()); lerr != nil {
		return nil, lerr
	}
	s.log.Error("upload damaged on disk", "seq", seq, "name", e.entry.Name.String(), "sha256", e.entry.Digest.String(), "err", err)
	return nil, fmt.Errorf("%w: %d: %w", uploads.ErrUnknown, seq, err)
}

// A damageError means that the disk did not keep what it was given.
type damageError struct{ error }

// A pinned entry's segment is not freed.
type pinned struct {
	entry  *entry
	seg    *segment
	rec    journal.Record
	length int64
}

func (s *Spool) pin(seq uint64) *pinned {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[seq]
	if e == nil || e.left {
		return nil
	}
	e.seg.readers++
	return &pinned{e, e.seg, e.rec, e.length()}
}

func (s *Spool) unpin(p *pinned) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.seg.readers--; p.seg.readers == 0 && p.seg.live == 0 {
		s.kick()
	}
}

func (s *Spool) read(e *entry, seg *segment, rec journal.Record, length int64) (uploads.Body, error) {
	if e.Blob != "" {
		return s.readBlob(e)
	}
	b, err := readRecord(seg.file, rec, length)
	if err != nil {
		return nil, err
	}
	return memoryBody{bytes.NewReader(b)}, nil
}

// readRecord returns a record's body after having verified it.
func readRecord(f disk.File, rec journal.Record, length int64) ([]byte, error) {
	b := make([]byte, length)
	if n, err := f.ReadAt(b, rec.Offset); n < len(b) {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	body, err := rec.Verify(b)
	if err != nil {
		return nil, &damageError{err}
	}
	return body, nil
}

func (s *Spool) readBlob(e *entry) (uploads.Body, error) {
	f, err := s.disk.Open(e.Blob)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &damageError{err}
	}
	if err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	h := sha256.New()
	n, err := io.Copy(h, io.NewSectionReader(f, 0, e.Size+1))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("read blob: %w", err)
	}
	if n != e.Size || uploads.Digest(h.Sum(nil)) != e.Digest {
		f.Close()
		return nil, &damageError{fmt.Errorf("blob %s: wrong bytes", e.Blob)}
	}
	return blobBody{io.NewSectionReader(f, 0, e.Size), f}, nil
}

type memoryBody struct{ *bytes.Reader }

func (memoryBody) Close() error { return nil }

type blobBody struct {
	*io.SectionReader
	f disk.File
}

func (b blobBody) Close() error { return b.f.Close() }

// now is the time that goes into records.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
