package spool

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"path"
	"strings"
	"sync"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/disk"
)

const (
	blobDir    = "blobs"
	blobSuffix = ".blob"
)

// A blob is a body in a file of its own. It has its final name only when it is
// complete and synced.
type blob struct {
	disk disk.Disk
	file disk.File
	name string // final
	temp string
	size int64
	hash hash.Hash
	done bool // has its final name
	// adopted says that the file was there before, as temp, and goes back there if
	// it is not kept.
	adopted bool
}

// copyBuffers are for reading bodies that are not kept in memory. They are
// outside the budget: each upload in flight has at most one.
var copyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

func blobNamed(d disk.Disk) *blob {
	base := strings.ToLower(rand.Text())
	return &blob{
		disk: d,
		name: path.Join(blobDir, base+blobSuffix),
		temp: path.Join(blobDir, base+tempSuffix),
		hash: sha256.New(),
	}
}

func newBlob(d disk.Disk) (*blob, error) {
	b := blobNamed(d)
	f, err := d.Create(b.temp)
	if err != nil {
		return nil, fmt.Errorf("create blob: %w", roomError(err))
	}
	b.file = f
	return b, nil
}

// isBlobName tells our own files from those others left in the directory.
func isBlobName(base, suffix string) bool {
	stem, ok := strings.CutSuffix(base, suffix)
	stem, _, _ = strings.Cut(stem, origin)
	return ok && len(stem) == len(rand.Text()) && strings.Trim(stem, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

func (b *blob) write(p []byte) error {
	if _, err := b.file.WriteAt(p, b.size); err != nil {
		return fmt.Errorf("write blob: %w", roomError(err))
	}
	b.size += int64(len(p))
	b.hash.Write(p)
	return nil
}

// readFrom takes over what one read gives.
func (b *blob) readFrom(r io.Reader) (int, error) {
	buf := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buf)
	n, err := r.Read(buf[:])
	if werr := b.write(buf[:n]); werr != nil {
		return n, werr
	}
	return n, err
}

func (b *blob) digest() (d uploads.Digest) {
	b.hash.Sum(d[:0])
	return d
}

// commit makes the blob durable under its name, which it returns.
func (b *blob) commit(d disk.Disk) (string, error) {
	err := b.file.Sync()
	if cerr := b.file.Close(); err == nil {
		err = cerr
	}
	b.file = nil
	if err == nil {
		err = d.Rename(b.temp, b.name)
	}
	if err != nil {
		return "", fmt.Errorf("commit blob: %w", roomError(err))
	}
	b.done = true
	if err := d.SyncDir(blobDir); err != nil {
		return "", fmt.Errorf("commit blob: %w", roomError(err))
	}
	if b.adopted { // under its old name it would be written to again
		if err := d.SyncDir(path.Dir(b.temp)); err != nil {
			return "", fmt.Errorf("commit blob: %w", roomError(err))
		}
	}
	return b.name, nil
}

func (b *blob) close() {
	if b.file != nil {
		b.file.Close()
		b.file = nil
	}
}

func (b *blob) remove(d disk.Disk) {
	b.close()
	name := b.temp
	if b.done {
		name = b.name
	}
	d.Remove(name) // what stays is swept at the next open
}
