//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
)

// files is the alternative the journal is measured against: every upload is a
// file of its own, synced, renamed, and its directory synced, behind the same
// server. It keeps neither receipts nor an index, which only makes it faster.
type files struct {
	dir string
	top *os.File
	n   atomic.Uint64
}

func newFiles(dir string) (*files, error) {
	top, err := os.Open(dir)
	return &files{dir: dir, top: top}, err
}

func (f *files) Accept(_ context.Context, d spool.Draft, body io.Reader) (uploads.Receipt, error) {
	name := filepath.Join(f.dir, fmt.Sprintf("%016x", f.n.Add(1)))
	sum := sha256.New()
	size, err := f.write(name+".tmp", body, sum)
	if err != nil {
		return uploads.Receipt{}, err
	}
	if err := os.Rename(name+".tmp", name); err != nil {
		return uploads.Receipt{}, err
	}
	if err := f.top.Sync(); err != nil {
		return uploads.Receipt{}, err
	}
	u := uploads.Upload{Kind: d.Kind, Name: d.Name, Device: d.Device, Size: size, Received: time.Now().UTC(), Digest: uploads.Digest(sum.Sum(nil))}
	return u.Receipt(), nil
}

func (f *files) write(name string, body io.Reader, sum hash.Hash) (int64, error) {
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	size, err := io.Copy(io.MultiWriter(out, sum), body)
	if err != nil {
		return size, err
	}
	return size, out.Sync()
}

func (f *files) Find(string, uploads.Name) (uploads.Receipt, bool) { return uploads.Receipt{}, false }

func (f *files) FindExact(string, uploads.Name, uploads.Digest) (uploads.Receipt, bool) {
	return uploads.Receipt{}, false
}
