package archive_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/archive"
)

var at = time.Date(2026, 3, 10, 17, 27, 38, 0, time.UTC)

// keys are two pairs that are the same in every run.
func keys(n byte) (ed25519.PublicKey, func([]byte) []byte) {
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
	return private.Public().(ed25519.PublicKey), func(b []byte) []byte { return ed25519.Sign(private, b) }
}

func upload(t *testing.T, n int, body string) uploads.Upload {
	t.Helper()
	name, err := uploads.ParseName(fmt.Sprintf("ws%d at 20260310T172738.log", n))
	if err != nil {
		t.Fatal(err)
	}
	return uploads.Upload{
		Seq: uint64(n), Kind: "Logs", Name: name, Device: uploads.Device{Domain: "EXAMPLE", Name: fmt.Sprintf("ws%d", n)},
		Digest: uploads.DigestOf([]byte(body)), Size: int64(len(body)), Received: at, Beacon: "leaf", Via: []string{"site"},
	}
}

func bodyOf(n int) string { return strings.Repeat(fmt.Sprint("body ", n), 300) }

// made is an archive of so many files.
func made(t *testing.T, files int) []byte {
	t.Helper()
	public, sign := keys(1)
	var b bytes.Buffer
	w, err := archive.NewWriter(&b, archive.Header{Beacon: "leaf", Key: public, Created: at}, sign)
	if err != nil {
		t.Fatal(err)
	}
	for n := range files {
		if err := w.Add(archive.EntryOf(upload(t, n+1, bodyOf(n+1))), strings.NewReader(bodyOf(n+1))); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := w.Close(); err != nil || m.Files != files {
		t.Fatalf("%+v, %v", m, err)
	}
	return b.Bytes()
}

func TestArchiveGivesBackWhatWentIn(t *testing.T) {
	public, _ := keys(1)
	for _, trusted := range []ed25519.PublicKey{public, nil} {
		a, err := archive.Open(bytes.NewReader(made(t, 3)), trusted)
		if err != nil {
			t.Fatal(err)
		}
		if a.Header.Beacon != "leaf" || a.Manifest.Files != 3 || a.Manifest.Bytes != int64(3*len(bodyOf(1))) {
			t.Errorf("%+v %+v", a.Header, a.Manifest)
		}
		for range 2 { // as often as one likes
			n := 0
			for f, err := range a.Files() {
				n++
				body, rerr := io.ReadAll(f.Body)
				want := archive.EntryOf(upload(t, n, bodyOf(n)))
				if err != nil || rerr != nil || string(body) != bodyOf(n) || f.Receipt != want.Receipt || f.SHA256 != want.SHA256 || f.Name != want.Name || f.Via[0] != "site" {
					t.Errorf("file %d: %+v, %v, %v", n, f, err, rerr)
				}
			}
			if n != 3 {
				t.Errorf("%d files", n)
			}
		}
	}
}

func TestEmptyArchiveIsOne(t *testing.T) {
	if a, err := archive.Open(bytes.NewReader(made(t, 0)), nil); err != nil || a.Manifest.Files != 0 {
		t.Errorf("%v", err)
	}
}

func TestOtherKeyIsRefused(t *testing.T) {
	other, _ := keys(2)
	if _, err := archive.Open(bytes.NewReader(made(t, 1)), other); !errors.Is(err, archive.ErrKey) {
		t.Errorf("Open = %v", err)
	}
}

func TestOtherFilesAreToldApart(t *testing.T) {
	for _, s := range []string{"", "hello", "{}\n", strings.Repeat("x", 4096)} {
		if _, err := archive.Open(strings.NewReader(s), nil); !errors.Is(err, archive.ErrOther) {
			t.Errorf("Open(%.10q) = %v", s, err)
		}
		if _, err := archive.OpenAck(strings.NewReader(s), nil); !errors.Is(err, archive.ErrOther) {
			t.Errorf("OpenAck(%.10q) = %v", s, err)
		}
	}
	newer := bytes.Replace(made(t, 1), []byte(`"version":1`), []byte(`"version":2`), 1)
	if _, err := archive.Open(bytes.NewReader(newer), nil); !errors.Is(err, archive.ErrNewer) {
		t.Errorf("newer: %v", err)
	}
}

// stride is how far apart the bytes are that are tried: the long form tries all.
func stride() int {
	if os.Getenv("BEACON_TEST_FULL") != "" {
		return 1
	}
	return 7
}

// Whatever byte of an archive is changed: it is refused, or it was in a body,
// whose digest then tells, or it means nothing.
func TestChangedArchiveIsFound(t *testing.T) {
	whole := made(t, 2)
	refused, spoiled := 0, 0
	for i := 0; i < len(whole); i += stride() {
		b := bytes.Clone(whole)
		b[i] ^= 0x04
		a, err := archive.Open(bytes.NewReader(b), nil)
		if err != nil {
			refused++
			continue
		}
		n := 0
		for f, err := range a.Files() {
			if err != nil {
				t.Fatalf("byte %d: %v after Open agreed", i, err)
			}
			n++
			body, _ := io.ReadAll(f.Body)
			if uploads.DigestOf(body) != f.SHA256 {
				spoiled++
			} else if string(body) != bodyOf(n) {
				t.Fatalf("byte %d: another body passed", i)
			}
			if want := archive.EntryOf(upload(t, n, bodyOf(n))); f.Receipt != want.Receipt || f.Name != want.Name {
				t.Fatalf("byte %d: another file passed: %+v", i, f)
			}
		}
		if n != 2 {
			t.Fatalf("byte %d: %d files", i, n)
		}
	}
	if n := 2 * len(bodyOf(1)) / stride(); spoiled < n-2 || spoiled > n+2 || refused < 2000/stride() {
		t.Errorf("%d refused, %d bodies spoiled", refused, spoiled)
	}
}

func TestCutArchiveIsRefused(t *testing.T) {
	whole := made(t, 2)
	end := len(whole) - 3*512 + 64 // behind the signature comes padding alone
	for n := 0; n < end; n += stride() {
		if _, err := archive.Open(bytes.NewReader(whole[:n]), nil); err == nil {
			t.Fatalf("the first %d of %d bytes were taken for all", n, len(whole))
		}
	}
}

// An archive in which a file was left out, or that has one more, is not the one
// that was signed.
func TestFileCannotBeTakenOut(t *testing.T) {
	whole := made(t, 3)
	before, _, _ := bytes.Cut(whole, []byte("files/000000003.json"))
	j := bytes.Index(whole, []byte("manifest.json"))
	b := append(bytes.Clone(before), whole[j:]...)
	if _, err := archive.Open(bytes.NewReader(b), nil); !errors.Is(err, archive.ErrBroken) {
		t.Errorf("Open = %v", err)
	}
}

func acknowledged(t *testing.T, files int) []byte {
	t.Helper()
	public, sign := keys(2)
	var b bytes.Buffer
	w, err := archive.NewAck(&b, archive.Header{Beacon: "centre", From: "leaf", Key: public, Created: at}, sign)
	for n := 0; n < files && err == nil; n++ {
		err = w.Add(archive.Held{Seq: uint64(n), Receipt: "abc"})
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAcknowledgementIsSealed(t *testing.T) {
	public, _ := keys(2)
	whole := acknowledged(t, 3)
	a, err := archive.OpenAck(bytes.NewReader(whole), public)
	if err != nil {
		t.Fatal(err)
	}
	n := uint64(0)
	for f, err := range a.Files() {
		if err != nil || f.Seq != n || f.Receipt != "abc" {
			t.Errorf("%+v, %v", f, err)
		}
		n++
	}
	if n != 3 || a.Header.From != "leaf" {
		t.Errorf("%d of %+v", n, a.Header)
	}
	other, _ := keys(1)
	if _, err := archive.OpenAck(bytes.NewReader(whole), other); !errors.Is(err, archive.ErrKey) {
		t.Errorf("another key: %v", err)
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 0x04
		if _, err := archive.OpenAck(bytes.NewReader(b), public); err == nil && i < len(whole)-3 { // the last letters of base64 hold bits that mean nothing
			t.Fatalf("byte %d of %d can be changed", i, len(whole))
		}
		if _, err := archive.OpenAck(bytes.NewReader(whole[:i]), public); err == nil {
			t.Fatalf("the first %d of %d bytes were taken for all", i, len(whole))
		}
	}
}

func TestArchiveAndAcknowledgementAreToldApart(t *testing.T) {
	for _, tt := range []struct {
		file []byte
		ack  bool
	}{{made(t, 1), false}, {acknowledged(t, 1), true}} {
		if ack, err := archive.IsAck(bytes.NewReader(tt.file)); ack != tt.ack || err != nil {
			t.Errorf("IsAck = %v, %v", ack, err)
		}
	}
}

// zeros is a large body that takes no memory.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// counting is a place for an archive of which nothing is read again.
type counting struct{ n int64 }

func (c *counting) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }

func TestLargeBodyTakesNoMemory(t *testing.T) {
	public, sign := keys(1)
	out := &counting{}
	w, err := archive.NewWriter(out, archive.Header{Beacon: "leaf", Key: public, Created: at}, sign)
	if err != nil {
		t.Fatal(err)
	}
	e := archive.EntryOf(upload(t, 1, ""))
	e.Bytes = 256 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := w.Add(e, zeros{}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 4<<20 || out.n < e.Bytes {
		t.Errorf("%d bytes allocated for %d written", got, out.n)
	}
}
