package spool

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/disk"
	"inventorybeacon/uploads/spool/journal"
)

const (
	// firstBytes of every body are collected before it takes more of the budget:
	// nearly every upload is smaller, and a sender that stalls holds no more.
	firstBytes = 64 << 10
	// maxInline is the largest body that goes into the journal. Larger ones there
	// would save a file each, but hold memory and hold up the group they are in.
	maxInline = 1 << 20
	// headroom is kept in front of a body in memory for its record's header and
	// metadata, so that the record is written in one piece.
	headroom = 2 << 10
)

// collected is a body that is complete: in memory behind its headroom, or in a
// file of its own.
type collected struct {
	spool  *Spool
	size   int64
	digest uploads.Digest
	buf    *buffer // nil if the body is in a blob
	blob   *blob   // nil if the body is in buf
	load   *load
	kept   bool
}

// collect reads a body to its end, into memory as long as the budget allows.
func (s *Spool) collect(ctx context.Context, d *Draft, body io.Reader) (*collected, error) {
	c := &collected{spool: s, load: s.budget.join(time.Now())}
	err := c.read(ctx, d, body)
	if err == nil && d.Length >= 0 && c.size != d.Length {
		err = fmt.Errorf("%w: %d bytes of %d", uploads.ErrShort, c.size, d.Length)
	}
	if err == nil && c.buf != nil {
		c.digest = sha256.Sum256(c.buf.b[headroom:][:c.size])
	}
	if err != nil {
		c.discard()
		return nil, err
	}
	return c, nil
}

func (c *collected) read(ctx context.Context, d *Draft, body io.Reader) error {
	limit := bodyLimit(d)
	for {
		if err := c.room(d); err != nil {
			return err
		}
		var n int
		var err error
		if c.blob != nil {
			n, err = c.blob.readFrom(body)
		} else {
			n, err = body.Read(c.buf.b[headroom+c.size:])
		}
		c.size += int64(n)
		c.load.got.Add(int64(n))
		if c.size > limit {
			return fmt.Errorf("%w: more than %d bytes", uploads.ErrTooLarge, limit)
		}
		if errors.Is(err, io.EOF) {
			return c.finish(d)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: after %d bytes", uploads.ErrShort, c.size)
		}
		if err != nil {
			return fmt.Errorf("read body: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// bodyLimit is the most that may come, one byte more than which is too much.
func bodyLimit(d *Draft) int64 {
	limit := int64(1<<63 - 1)
	if d.MaxBytes > 0 {
		limit = d.MaxBytes
	}
	if d.Length >= 0 {
		limit = min(limit, d.Length)
	}
	return limit
}

// room sees to it that something can be read: a larger buffer, or a blob when
// the body is too large or too slow for memory.
func (c *collected) room(d *Draft) error {
	if c.blob != nil {
		return nil
	}
	if c.load.slow.Load() {
		return c.spill(d)
	}
	if c.buf != nil && headroom+c.size < int64(len(c.buf.b)) {
		return nil
	}
	want := c.wanted(d)
	if want > c.spool.inline+1 {
		return c.spill(d)
	}
	next := bufferFor(want)
	if !c.spool.budget.take(c.load, int64(len(next.b)), time.Now()) {
		next.free()
		return c.spill(d)
	}
	if c.buf != nil {
		copy(next.b[headroom:], c.buf.b[headroom:][:c.size])
		c.spool.budget.give(c.load, int64(len(c.buf.b)))
		c.buf.free()
	}
	c.buf = next
	return nil
}

// wanted is how much of the body there should be room for next: little until
// something came, since whoever only announces much must not hold it. One byte
// more than is expected lets the read that follows find the end.
func (c *collected) wanted(d *Draft) int64 {
	switch {
	case c.buf == nil && d.Length < 0:
		return smallestBuffer
	case c.buf == nil:
		return min(d.Length+1, smallestBuffer)
	case d.Length < 0:
		return min(4*c.size, max(c.spool.inline+1, c.size+1))
	case c.size < firstBytes:
		return min(d.Length+1, firstBytes)
	}
	return d.Length + 1
}

// inMemory is how much of the body is still to take its place on the disk.
func (c *collected) inMemory() int64 {
	if c.blob != nil {
		return 0
	}
	return c.size
}

// spill moves the body to a file of its own.
func (c *collected) spill(d *Draft) error {
	if err := c.spool.spareReserve(max(d.Length, c.size)); err != nil {
		return err
	}
	b, err := newBlob(c.spool.disk)
	if err != nil {
		return err
	}
	c.blob = b
	if c.buf == nil {
		return nil
	}
	err = b.write(c.buf.b[headroom:][:c.size])
	c.freeBuffer()
	return err
}

func (c *collected) finish(d *Draft) error {
	if c.blob == nil {
		if c.size > c.spool.inline { // found its end in the byte beyond
			if err := c.spill(d); err != nil {
				return err
			}
		} else {
			return nil
		}
	}
	c.digest = c.blob.digest()
	return nil
}

func (c *collected) freeBuffer() {
	if c.buf == nil {
		return
	}
	c.spool.budget.give(c.load, int64(len(c.buf.b)))
	c.buf.free()
	c.buf = nil
}

// commit makes a body in a file of its own durable and returns its name.
func (c *collected) commit(d disk.Disk) (string, error) {
	if c.blob == nil {
		return "", nil
	}
	return c.blob.commit(d)
}

// item makes the upload's record. The body is not copied: the metadata goes
// into the headroom before it.
func (c *collected) item(u *journal.Upload) (*item, error) {
	var room []byte
	if c.buf != nil {
		room = c.buf.b[: 0 : headroom-journal.RecordHeader]
	}
	meta := journal.AppendUpload(room, u, false)
	if len(meta) > maxMeta {
		return nil, fmt.Errorf("%w: %d bytes of description; %d are allowed", uploads.ErrTooLarge, len(meta), maxMeta)
	}
	if c.buf == nil {
		return newItem(journal.TypeUpload, 1, meta), nil
	}
	it := &item{rec: journal.Record{Type: journal.TypeUpload, Count: 1, BodyLen: c.size}}
	head := journal.RecordHeader + len(meta)
	if head <= headroom {
		it.buf = c.buf.b[headroom-head : headroom+c.size]
	} else {
		it.buf = make([]byte, int64(head)+c.size)
		copy(it.buf[head:], c.buf.b[headroom:][:c.size])
	}
	it.rec.Meta = it.buf[journal.RecordHeader:head]
	copy(it.rec.Meta, meta) // they may overlap
	return it, nil
}

// keep says that the body belongs to a held upload.
func (c *collected) keep() { c.kept = true }

// discard gives back the memory, and removes the file of a body that nothing
// refers to.
func (c *collected) discard() {
	c.freeBuffer()
	switch {
	case c.blob == nil || c.kept:
	case c.blob.adopted:
		if err := c.blob.giveBack(c.spool.disk); err != nil {
			c.spool.log.Error("file not given back", "file", c.blob.temp, "err", err)
		}
	default:
		c.blob.remove(c.spool.disk)
	}
	c.spool.budget.part(c.load)
}
