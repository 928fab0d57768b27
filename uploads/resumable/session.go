package resumable

import (
	"bytes"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/disk"
)

// A Session is one request's hold on an upload. Its methods are for one
// goroutine. Release ends it.
type Session struct {
	store     *Store
	upload    *upload
	interrupt func()
	taken     atomic.Bool   // another request waits for this one to end
	stop      atomic.Bool   // and has waited long enough
	moved     atomic.Int64  // bytes that have come
	over      chan struct{} // closed when it has ended
	data, log disk.File     // open while there is something to write
}

// Release lets the next one take the upload.
func (c *Session) Release() {
	c.close()
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	if c.upload.holder == c {
		c.upload.holder = nil
		close(c.over)
	}
}

func (c *Session) close() {
	for _, f := range []disk.File{c.data, c.log} {
		if f != nil {
			f.Close() // what counts is synced
		}
	}
	c.data, c.log = nil, nil
}

// Superseded reports whether another request waits for this one to end.
func (c *Session) Superseded() bool { return c.taken.Load() }

// Status returns how far the upload has got.
func (c *Session) Status() Status {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	return c.store.status(c.upload)
}

// File names the bytes so far, relative to the spool's folder.
func (c *Session) File() string { return c.upload.dataFile() }

// Read returns the bytes so far. The caller must close it.
func (c *Session) Read() (io.ReadCloser, error) {
	f, err := c.store.disk.Open(c.File())
	if err != nil {
		return nil, fmt.Errorf("read unfinished upload: %w", err)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, 0, c.upload.offset), f}, nil
}

// Declare records a length that a request states for the whole. If it is not
// what was stated before the error matches [ErrLength], and if it is too much,
// [uploads.ErrTooLarge]; the upload then goes on as it was.
func (c *Session) Declare(length int64) error {
	d := &c.upload.draft
	switch {
	case d.Length == length:
		return nil
	case d.Length >= 0:
		return fmt.Errorf("%w: %d bytes now, %d before", ErrLength, length, d.Length)
	case length < c.upload.offset:
		return fmt.Errorf("%w: %d bytes, of which %d are here", ErrLength, length, c.upload.offset)
	case over(length, d.MaxBytes):
		return fmt.Errorf("%w: %d bytes; %s may have %d", uploads.ErrTooLarge, length, d.Kind, d.MaxBytes)
	}
	if err := c.grow(length); err != nil {
		return err
	}
	return c.note(step{Offset: c.upload.offset, Length: length})
}

// grow counts an upload that became longer than what was known of it.
func (c *Session) grow(length int64) error {
	s, u := c.store, c.upload
	s.mu.Lock()
	defer s.mu.Unlock()
	more := length - u.weight
	if more <= 0 {
		return nil
	}
	if over(s.bytes+more, s.o.Bytes) || over(s.sources[u.source].bytes+more, s.share(u).Bytes) {
		return full("too many bytes of unfinished uploads")
	}
	u.weight += more
	s.bytes += more
	s.add(u.source, 0, more)
	return nil
}

// A Part is what one request brings.
type Part struct {
	Body io.Reader
	// Last says that the request means to complete the upload, however little it
	// brings.
	Last bool
	// Check, if set, judges the whole part before any of it is promised.
	Check func() error
	// Promised, if set, is told of offsets that are promised while the part is
	// still arriving.
	Promised func(offset int64)
}

// Append adds a part. Whatever has arrived when Body ends or fails is promised
// on return, unless Check refused it. Errors are Body's or Check's own, or match
// [ErrLength] or [uploads.ErrTooLarge] (the upload has then ended),
// [uploads.ErrFull], or [ErrSmall].
func (c *Session) Append(p Part) error {
	if !p.Last && c.upload.small >= smallAppends+int(c.upload.offset/MinAppend) {
		return fmt.Errorf("%w: bring at least %d bytes", ErrSmall, MinAppend)
	}
	from := c.upload.offset
	at, err := c.copy(p)
	if errors.Is(err, errTooLong) {
		return errors.Join(c.tooLong(at), c.End(EndInvalid))
	}
	if err == nil && p.Check != nil {
		if err := p.Check(); err != nil {
			return errors.Join(err, c.back(from))
		}
	}
	if at-from < MinAppend && !p.Last {
		c.upload.small++
	}
	if perr := c.promise(at); perr != nil {
		return perr
	}
	return err
}

var errTooLong = errors.New("more than was said")

// buffers are for copying bodies; each request in progress has one.
var buffers = sync.Pool{New: func() any { return new([128 << 10]byte) }}

// copy writes what comes and returns how far that goes.
func (c *Session) copy(p Part) (at int64, err error) {
	buf := buffers.Get().(*[128 << 10]byte)
	defer buffers.Put(buf)
	at = c.upload.offset
	for {
		n, rerr := p.Body.Read(buf[:])
		c.moved.Add(int64(n))
		if n > 0 {
			if over(at+int64(n), c.upload.draft.MaxBytes) || c.upload.draft.Length >= 0 && at+int64(n) > c.upload.draft.Length {
				return at + int64(n), errTooLong
			}
			written, err := c.write(buf[:n], at)
			at += int64(written)
			if err != nil {
				return at, err
			}
		}
		switch {
		case rerr == io.EOF:
			return at, nil
		case rerr != nil:
			return at, rerr
		case c.stop.Load():
			return at, ErrOver
		}
		if at-c.upload.offset >= syncEvery && p.Check == nil {
			if err := c.promise(at); err != nil {
				return at, err
			}
			if p.Promised != nil {
				p.Promised(at)
			}
		}
	}
}

func (c *Session) tooLong(at int64) error {
	d := c.upload.draft
	if d.Length >= 0 && at > d.Length {
		return fmt.Errorf("%w: more than the %d bytes that were stated", ErrLength, d.Length)
	}
	return fmt.Errorf("%w: more than %d bytes", uploads.ErrTooLarge, d.MaxBytes)
}

func (c *Session) write(b []byte, at int64) (int, error) {
	if err := c.open(); err != nil {
		return 0, err
	}
	if err := c.grow(at + int64(len(b))); err != nil {
		return 0, err
	}
	n, err := c.data.WriteAt(b, at)
	if err != nil {
		return n, fmt.Errorf("write unfinished upload: %w", roomError(err))
	}
	return n, nil
}

// roomError makes a full disk match [uploads.ErrFull].
func roomError(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%w: %w", uploads.ErrFull, err)
	}
	return err
}

// open opens the files if they are not.
func (c *Session) open() (err error) {
	if c.data == nil {
		if c.data, err = c.store.disk.Open(c.upload.dataFile()); err != nil {
			return fmt.Errorf("open unfinished upload: %w", err)
		}
	}
	if c.log == nil {
		if c.log, err = c.store.disk.Open(c.upload.stateFile()); err != nil {
			return fmt.Errorf("open unfinished upload: %w", err)
		}
	}
	return nil
}

// begin makes the files of a new upload.
func (c *Session) begin() (err error) {
	u, d := c.upload, c.store.disk
	if c.data, err = d.Create(u.dataFile()); err != nil {
		return fmt.Errorf("create unfinished upload: %w", roomError(err))
	}
	if c.log, err = d.Create(u.stateFile()); err != nil {
		return fmt.Errorf("create unfinished upload: %w", roomError(err))
	}
	if err = c.record(u.draft.birth(u.created)); err == nil {
		err = d.SyncDir(Dir)
	}
	if err != nil {
		return fmt.Errorf("create unfinished upload: %w", err)
	}
	return nil
}

// promise makes everything up to at durable. After a sync that failed nothing is
// known of what the disk has: the upload ends.
func (c *Session) promise(at int64) error {
	if at == c.upload.offset {
		return nil
	}
	if err := c.data.Sync(); err != nil {
		return errors.Join(fmt.Errorf("sync unfinished upload: %w", err), c.End(EndDamaged))
	}
	return c.note(step{Offset: at, Length: c.upload.draft.Length})
}

// note adds a step to the state, durably, and makes it what counts. One that
// could not be written changes nothing; after a sync that failed the upload ends.
func (c *Session) note(s step) error {
	if err := c.open(); err != nil {
		return err
	}
	s.At = time.Now().UTC().Truncate(time.Millisecond)
	switch err := c.record(s); {
	case errors.Is(err, errSync):
		return errors.Join(err, c.End(EndDamaged))
	case err != nil:
		return err
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	c.upload.offset, c.upload.draft.Length, c.upload.touched = s.Offset, s.Length, s.At
	return nil
}

// errSync means that nobody knows what of a file is on disk.
var errSync = errors.New("not synced")

// record appends a line to the state, durably. What a failed write left is
// written over by the next one.
func (c *Session) record(v any) error {
	b := line(v)
	if _, err := c.log.WriteAt(b, c.upload.logged); err != nil {
		return fmt.Errorf("record unfinished upload: %w", roomError(err))
	}
	if err := c.log.Sync(); err != nil {
		return fmt.Errorf("record unfinished upload: %w: %w", errSync, err)
	}
	c.upload.logged += int64(len(b))
	return nil
}

// back takes away what was not promised.
func (c *Session) back(to int64) error {
	if c.data == nil {
		return nil
	}
	if err := c.data.Truncate(to); err != nil {
		return errors.Join(fmt.Errorf("take back a part: %w", err), c.End(EndDamaged))
	}
	return nil
}

// Finish hands the whole file over. from is where the last request began. adopt
// takes the file away and answers for it, or leaves it where it is and says why;
// then the upload is as it was.
func (c *Session) Finish(from int64, adopt func(file string) (uploads.Receipt, error)) (uploads.Receipt, error) {
	u := c.upload
	if u.draft.Length >= 0 && u.offset != u.draft.Length {
		return uploads.Receipt{}, fmt.Errorf("%w: complete at %d bytes; %d were stated", ErrLength, u.offset, u.draft.Length)
	}
	if err := c.checkWide(); err != nil {
		return uploads.Receipt{}, err
	}
	c.close() // a file that is open is not renamed everywhere
	r, err := adopt(u.dataFile())
	if err != nil {
		return uploads.Receipt{}, err
	}
	s := c.store
	s.mu.Lock()
	s.uncount(u)
	u.done, u.digest, u.from, u.draft.Length = true, r.SHA256, from, u.offset
	s.done++
	s.finished++
	s.mu.Unlock()
	// If this is lost the next start concludes it from the announced digest.
	if c.log, err = s.disk.Open(u.stateFile()); err == nil {
		err = c.record(step{At: time.Now().UTC(), Offset: u.offset, Length: u.offset, Done: &r.SHA256, From: from})
	}
	if err != nil {
		s.log.Warn("that an upload is complete was not recorded", "name", u.draft.Name.String(), "err", err)
	}
	return r, nil
}

// checkWide compares the whole with an announced SHA-512.
func (c *Session) checkWide() error {
	if c.upload.draft.Wide == nil {
		return nil
	}
	r, err := c.Read()
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha512.New()
	if _, err := io.Copy(h, r); err != nil {
		return fmt.Errorf("read unfinished upload: %w", err)
	}
	if !bytes.Equal(h.Sum(nil), c.upload.draft.Wide) {
		return fmt.Errorf("%w: sha-512", uploads.ErrDigest)
	}
	return nil
}

// End ends the upload without its being complete, for one of the reasons above.
func (c *Session) End(reason string) error {
	c.close()
	return c.store.end(c.upload, reason)
}
