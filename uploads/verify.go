package uploads

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
)

// Verify returns a reader of r that gives exactly size bytes of digest d. If r
// holds other or fewer bytes, it gives an [ErrDigest] in place of the last of
// them, so that whoever copies it never has the whole of a wrong file.
func Verify(r io.Reader, size int64, d Digest) io.Reader {
	return &verifier{r: io.LimitReader(r, size), left: size, want: d, hash: sha256.New()}
}

type verifier struct {
	r    io.Reader
	left int64
	want Digest
	hash hash.Hash
	err  error
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil || len(p) == 0 {
		return 0, v.err
	}
	n, err := v.r.Read(p)
	v.hash.Write(p[:n])
	v.left -= int64(n)
	switch {
	case v.left > 0 && err == io.EOF:
		v.err = fmt.Errorf("%w: %d bytes are missing", ErrDigest, v.left)
	case v.left > 0:
		v.err = err
	case Digest(v.hash.Sum(nil)) != v.want:
		n, v.err = 0, ErrDigest
	default:
		v.err = io.EOF
		return n, nil
	}
	return n, v.err
}
