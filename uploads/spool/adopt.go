package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/disk"
)

// Adopt takes a complete file that lies below [UnfinishedDir]; its name is
// relative to the spool. It is hashed, synced and renamed instead of being
// copied, and answered for as by [Spool.Accept], with the same errors. After
// success the file is gone, also if it was a repeat; after an error it is where it
// was.
func (s *Spool) Adopt(ctx context.Context, d Draft, file string) (uploads.Receipt, error) {
	if path.Clean(file) != file || !strings.HasPrefix(file, UnfinishedDir+"/") {
		return uploads.Receipt{}, fmt.Errorf("adopt %q: it is not below %s/", file, UnfinishedDir)
	}
	if err := d.check(); err != nil {
		return uploads.Receipt{}, err
	}
	if err := s.enter(); err != nil {
		return uploads.Receipt{}, err
	}
	defer s.leave()
	c, err := s.measure(ctx, &d, file)
	if err != nil {
		return uploads.Receipt{}, err
	}
	defer c.discard()
	if err := c.verify(&d); err != nil {
		return uploads.Receipt{}, err
	}
	r, err := s.once(ctx, &d, c)
	if err == nil && r.Duplicate {
		err = c.blob.drop(s.disk)
	}
	return r, err
}

// measure opens a file to be adopted and hashes it.
func (s *Spool) measure(ctx context.Context, d *Draft, file string) (*collected, error) {
	f, err := s.disk.Open(file)
	if err != nil {
		return nil, fmt.Errorf("adopt: %w", roomError(err))
	}
	b := adoptedBlob(s.disk, f, file)
	c := &collected{spool: s, load: s.budget.join(time.Now()), blob: b}
	if c.size, err = b.measure(ctx); err == nil {
		err = c.fits(d)
	}
	if err != nil {
		c.discard()
		return nil, err
	}
	c.digest = b.digest()
	return c, nil
}

// fits checks the size against what the draft says.
func (c *collected) fits(d *Draft) error {
	switch {
	case d.MaxBytes > 0 && c.size > d.MaxBytes || d.Length >= 0 && c.size > d.Length:
		return fmt.Errorf("%w: %d bytes; %d are allowed", uploads.ErrTooLarge, c.size, bodyLimit(d))
	case d.Length >= 0 && c.size < d.Length:
		return fmt.Errorf("%w: %d bytes of %d", uploads.ErrShort, c.size, d.Length)
	}
	return nil
}

// adoptedBlob is a blob whose bytes are there already, in a file of another
// name.
func adoptedBlob(d disk.Disk, f disk.File, file string) *blob {
	b := blobNamed(d)
	b.name = strings.TrimSuffix(b.name, blobSuffix) + origin + path.Base(file) + blobSuffix
	b.file, b.temp, b.adopted = f, file, true
	return b
}

// origin stands in the name of an adopted blob before the name it had. A cut of
// the power between its renaming and its record must not cost the bytes, whose
// sender may have been told that they are safe: the sweep gives them back.
const origin = "~"

// restore gives the bytes of a blob that has no record back to whom they were
// adopted from, and says whether they were adopted at all.
func restore(d disk.Disk, name string) (adopted bool, err error) {
	_, was, adopted := strings.Cut(strings.TrimSuffix(path.Base(name), blobSuffix), origin)
	if !adopted || was == "" {
		return false, nil
	}
	if err := d.Rename(name, path.Join(UnfinishedDir, was)); err != nil {
		return true, err
	}
	return true, errors.Join(d.SyncDir(UnfinishedDir), d.SyncDir(blobDir))
}

// measure hashes the file and returns its size.
func (b *blob) measure(ctx context.Context) (int64, error) {
	buf := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n, err := b.file.ReadAt(buf, b.size)
		b.size += int64(n)
		b.hash.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			return b.size, nil
		}
		if err != nil {
			return 0, fmt.Errorf("adopt: %w", err)
		}
	}
}

// drop removes an adopted file that is not needed.
func (b *blob) drop(d disk.Disk) error {
	b.close()
	if err := d.Remove(b.temp); err != nil {
		return fmt.Errorf("adopt: %w", err)
	}
	return nil
}

// giveBack puts an adopted file where it was.
func (b *blob) giveBack(d disk.Disk) error {
	b.close()
	if !b.done {
		return nil
	}
	if err := d.Rename(b.name, b.temp); err != nil {
		return err
	}
	b.done = false
	return errors.Join(d.SyncDir(path.Dir(b.temp)), d.SyncDir(blobDir))
}
