package uploads_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"inventorybeacon/uploads"
)

// Whoever copies a verified reader has the whole of the right bytes, or never
// the whole of the wrong ones.
func TestVerify(t *testing.T) {
	const right = "hello, world"
	boom := errors.New("disk on fire")
	for name, tt := range map[string]struct {
		r    io.Reader
		want error
	}{
		"right":       {strings.NewReader(right), nil},
		"with a tail": {strings.NewReader(right + "!"), nil},
		"flipped":     {strings.NewReader("hello, worle"), uploads.ErrDigest},
		"short":       {strings.NewReader("hello"), uploads.ErrDigest},
		"empty":       {strings.NewReader(""), uploads.ErrDigest},
		"failing":     {io.MultiReader(strings.NewReader("hello"), iotest.ErrReader(boom)), boom},
	} {
		for chunks, wrap := range map[string]func(io.Reader) io.Reader{"whole": func(r io.Reader) io.Reader { return r }, "bytewise": iotest.OneByteReader, "late EOF": iotest.DataErrReader} {
			t.Run(name+" "+chunks, func(t *testing.T) {
				b, err := io.ReadAll(uploads.Verify(wrap(tt.r), int64(len(right)), uploads.DigestOf([]byte(right))))
				if !errors.Is(err, tt.want) {
					t.Errorf("error %v, want %v", err, tt.want)
				}
				if tt.want == nil && string(b) != right || tt.want != nil && len(b) >= len(right) {
					t.Errorf("gave %q", b)
				}
				if s, ok := tt.r.(io.Seeker); ok {
					s.Seek(0, io.SeekStart)
				}
			})
		}
	}
	if b, err := io.ReadAll(uploads.Verify(strings.NewReader("x"), 0, uploads.DigestOf(nil))); err != nil || len(b) > 0 {
		t.Errorf("nothing: %q, %v", b, err)
	}
}
