package beacon

import (
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent/hop"
)

// digestHeaders both speak of the bytes sent, since a body has no coding.
var digestHeaders = [...]string{"Repr-Digest", "Content-Digest"}

// wantDigest returns the SHA-256 that the sender announced, or nil.
func wantDigest(h http.Header) (*uploads.Digest, error) {
	var want *uploads.Digest
	for _, name := range digestHeaders {
		if len(h[name]) == 0 {
			continue
		}
		d, ok, err := hop.ParseDigest(h[name])
		switch {
		case err != nil:
			return nil, fmt.Errorf("%w: %s: %w", errBadRequest, name, err)
		case ok && want != nil && *want != d:
			return nil, fmt.Errorf("%w: two announced digests differ", uploads.ErrDigest)
		case ok:
			want = &d
		}
	}
	return want, nil
}

// wideDigest returns the SHA-512 that the sender announced, or nil.
func wideDigest(h http.Header) ([]byte, error) {
	var want []byte
	for _, name := range digestHeaders {
		for member := range strings.SplitSeq(strings.Join(h[name], ","), ",") {
			value, ok := strings.CutPrefix(strings.TrimSpace(member), "sha-512=")
			if !ok {
				continue
			}
			b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(strings.TrimSuffix(value, ":"), ":"))
			if err != nil || len(b) != sha512.Size {
				return nil, fmt.Errorf("%w: %s: malformed sha-512", errBadRequest, name)
			}
			want = b
		}
	}
	return want, nil
}
