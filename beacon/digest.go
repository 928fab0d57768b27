package beacon

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"net/http"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent/hop"
)

// digestHeaders both speak of the bytes sent, since a body has no coding.
var digestHeaders = [...]string{"Repr-Digest", "Content-Digest"}

// wantDigest returns the SHA-256 that the sender announced, or nil.
func wantDigest(h http.Header) (*uploads.Digest, error) {
	b, err := announced(h, "sha-256", sha256.Size)
	if b == nil {
		return nil, err
	}
	d := uploads.Digest(b)
	return &d, nil
}

// wideDigest returns the SHA-512 that the sender announced, or nil.
func wideDigest(h http.Header) ([]byte, error) { return announced(h, "sha-512", sha512.Size) }

// announced returns the digest that either header, or both, speak of.
func announced(h http.Header, algorithm string, size int) (want []byte, err error) {
	for _, name := range digestHeaders {
		d, err := hop.DigestMember(h[name], algorithm, size)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%w: %s: %w", errBadRequest, name, err)
		case want != nil && d != nil && !bytes.Equal(want, d):
			return nil, fmt.Errorf("%w: two announced digests differ", uploads.ErrDigest)
		case d != nil:
			want = d
		}
	}
	return want, nil
}
