package beacon

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"io"
	"net/http"

	"inventorybeacon/uploads"
)

// contentSums compare a part with the Content-Digest that was announced for it.
type contentSums struct {
	hashes []hash.Hash
	wants  [][]byte
}

func newContentSums(h http.Header) (*contentSums, error) {
	only := http.Header{"Content-Digest": h["Content-Digest"]}
	s := &contentSums{}
	want, err := wantDigest(only)
	if err != nil {
		return nil, err
	}
	if want != nil {
		s.hashes, s.wants = append(s.hashes, sha256.New()), append(s.wants, want[:])
	}
	wide, err := wideDigest(only)
	if err != nil {
		return nil, err
	}
	if wide != nil {
		s.hashes, s.wants = append(s.hashes, sha512.New()), append(s.wants, wide)
	}
	return s, nil
}

func (s *contentSums) reader(r io.Reader) io.Reader {
	for _, h := range s.hashes {
		r = io.TeeReader(r, h)
	}
	return r
}

// check is nil if nothing was announced.
func (s *contentSums) check() func() error {
	if len(s.hashes) == 0 {
		return nil
	}
	return func() error {
		for i, h := range s.hashes {
			if !bytes.Equal(h.Sum(nil), s.wants[i]) {
				return fmt.Errorf("%w: the part is not what its Content-Digest says", uploads.ErrDigest)
			}
		}
		return nil
	}
}
