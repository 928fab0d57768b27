package uploadstest

import (
	"bytes"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"inventorybeacon/uploads"
)

// Upload describes data as a file of that kind and name.
func Upload(t testing.TB, kind, name string, data []byte) uploads.Upload {
	t.Helper()
	n, err := uploads.ParseName(name)
	if err != nil {
		t.Fatal(err)
	}
	return uploads.Upload{
		Seq: seq.Add(1), Kind: kind, Name: n, Digest: uploads.DigestOf(data), Size: int64(len(data)),
		Device: uploads.Device{Domain: "EXAMPLE", Name: n.Parts().Device}, AgentID: "a1",
		Received: time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC), Modified: time.Date(2026, 11, 22, 9, 29, 0, 0, time.UTC),
		Beacon: "child",
	}
}

var seq atomic.Uint64

// Parcel makes a parcel of data.
func Parcel(t testing.TB, kind, name string, data []byte) uploads.Parcel {
	return Wrong(Upload(t, kind, name, data), data)
}

// Wrong makes a parcel whose bytes need not be the ones that u announces.
func Wrong(u uploads.Upload, data []byte) uploads.Parcel {
	return uploads.Parcel{Upload: u, Open: func() (uploads.Body, error) { return Body(data), nil }}
}

// Body makes a body of data.
func Body(data []byte) uploads.Body { return body{bytes.NewReader(data)} }

type body struct{ *bytes.Reader }

func (body) Close() error { return nil }

// Noise returns n bytes that do not compress, the same for the same seed.
func Noise(n int, seed byte) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b) // never fails
	return b
}

// brokenBody fails after some of its bytes.
type brokenBody struct {
	uploads.Body
	left int
	err  error
}

func (b *brokenBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, b.err
	}
	n, err := b.Body.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// ReadAt implements [io.ReaderAt], which fails at the same place.
func (b *brokenBody) ReadAt([]byte, int64) (int, error) { return 0, b.err }

// Seek implements [io.Seeker], likewise.
func (b *brokenBody) Seek(int64, int) (int64, error) { return 0, b.err }

var _ io.ReaderAt = (*brokenBody)(nil)

// slow gives a KiB at a time.
type slow struct {
	uploads.Body
	wait time.Duration
}

func (s *slow) Read(p []byte) (int, error) {
	time.Sleep(s.wait)
	return s.Body.Read(p[:min(len(p), 1<<10)])
}
