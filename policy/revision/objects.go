package revision

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"inventorybeacon/uploads/durablefile"
)

const objectsDir = "objects"

// errDamaged means that an object or a manifest is not what was written.
var errDamaged = errors.New("damaged")

// objectName is where the object of that digest, in hex, is. A digest comes
// from a manifest, and so from another beacon perhaps: it is parsed first.
func objectName(digest string) string { return objectsDir + "/" + digest }

func parseDigest(s string) (d [sha256.Size]byte, err error) {
	if len(s) != 2*len(d) {
		return d, fmt.Errorf("digest %.80q: %w", s, errDamaged)
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil || hex.EncodeToString(d[:]) != s {
		return d, fmt.Errorf("digest %q: %w", s, errDamaged)
	}
	return d, nil
}

// putObject makes what r holds durable under its digest, which must be want.
// An object that is there already, undamaged, is left alone.
func putObject(root *os.Root, want string, r io.Reader) error {
	if _, err := parseDigest(want); err != nil {
		return err
	}
	if verifyObject(root, want, -1) == nil {
		return nil
	}
	p, err := durablefile.Create(root, objectName(want), 0o600)
	if err != nil {
		return err
	}
	defer p.Abort()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(p, h), r); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("object %s holds %s: %w", want, got, errDamaged)
	}
	return p.CommitReplace()
}

// verifyObject reads an object to its end. A size of -1 is any.
func verifyObject(root *os.Root, digest string, size int64) error {
	f, err := root.Open(objectName(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("object %s is missing: %w", digest, errDamaged)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return err
	}
	if hex.EncodeToString(h.Sum(nil)) != digest || size >= 0 && n != size {
		return fmt.Errorf("object %s: %w", digest, errDamaged)
	}
	return nil
}

// readObject returns the bytes of a small object, verified.
func readObject(root *os.Root, digest string) ([]byte, error) {
	b, err := root.ReadFile(objectName(digest))
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != digest {
		return nil, fmt.Errorf("object %s: %w", digest, errDamaged)
	}
	return b, nil
}
