package quarantine_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/quarantine"
	"inventorybeacon/uploads/relay"
	"inventorybeacon/uploads/uploadstest"
)

var _ relay.Quarantine = (*quarantine.Store)(nil)

func open(t *testing.T, dir string) *quarantine.Store {
	t.Helper()
	s, err := quarantine.Open(dir, quarantine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStoreKeepsFileAndReason(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "quarantine")
	s := open(t, dir)
	u := uploadstest.Upload(t, "Inventories", "PC1 at 20261122T093000.ndi.gz", []byte("hello"))
	if err := s.Keep(u, uploadstest.Body([]byte("hello")), "centre", "415 bad-kind"); err != nil {
		t.Fatal(err)
	}
	if err := s.Keep(u, uploadstest.Body([]byte("again")), "centre", "again"); err != nil {
		t.Fatalf("a second time: %v", err)
	}
	got, err := open(t, dir).List(false)
	if err != nil || len(got) != 1 {
		t.Fatalf("List = %v, %v", got, err)
	}
	e := got[0]
	if e.ID != u.Receipt().ID || e.Name != u.Name || e.Device != u.Device || e.Digest != u.Digest || e.Sink != "centre" || e.Reason != "415 bad-kind" || e.At.IsZero() || !e.Received.Equal(u.Received) {
		t.Errorf("entry %+v", e)
	}
	body, err := s.Body(e.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if b, _ := io.ReadAll(body); string(b) != "hello" {
		t.Errorf("body %q", b)
	}
}

// A Keep that was interrupted before the sidecar is made again, whole.
func TestStoreFinishesInterruptedKeep(t *testing.T) {
	dir := t.TempDir()
	u := uploadstest.Upload(t, "Logs", "PC1.log", []byte("hello"))
	id := u.Receipt().ID
	for name, text := range map[string]string{id + ".body": "hel", "." + id + ".json.XYZ.tmp": "{"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, dir)
	if got, err := s.List(false); err != nil || len(got) != 0 {
		t.Fatalf("List = %v, %v; want nothing yet", got, err)
	}
	if err := s.Keep(u, uploadstest.Body([]byte("hello")), "centre", "why"); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, id+".body")); err != nil || string(b) != "hello" {
		t.Errorf("body %q, %v", b, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestStoreKeepsNothingOnFailure(t *testing.T) {
	s := open(t, t.TempDir())
	u := uploadstest.Upload(t, "Logs", "PC1.log", []byte("hello"))
	boom := errors.New("disk on fire")
	if err := s.Keep(u, failing{uploadstest.Body(nil), boom}, "centre", "why"); !errors.Is(err, boom) {
		t.Errorf("Keep = %v", err)
	}
	if got, err := s.List(false); err != nil || len(got) != 0 {
		t.Errorf("List = %v, %v", got, err)
	}
	if _, err := s.Get(u.Receipt().ID); !errors.Is(err, uploads.ErrUnknown) {
		t.Errorf("Get = %v", err)
	}
}

type failing struct {
	uploads.Body
	err error
}

func (f failing) Read([]byte) (int, error)         { return 0, f.err }
func (f failing) WriteTo(io.Writer) (int64, error) { return 0, f.err }

// What a newer program wrote, or nobody can read, is named and left alone.
func TestStoreNamesWhatItCannotRead(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	good := uploadstest.Upload(t, "Logs", "PC1.log", []byte("x"))
	if err := s.Keep(good, uploadstest.Body([]byte("x")), "centre", "why"); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"newer.json": `{"version":99}`, "broken.json": `{`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.List(false)
	if len(got) != 1 || err == nil || !strings.Contains(err.Error(), "newer") || !strings.Contains(err.Error(), "broken") {
		t.Errorf("List = %v, %v", got, err)
	}
}
