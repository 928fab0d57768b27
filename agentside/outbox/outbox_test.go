package outbox

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
)

// memory is a Spool that remembers what it took.
type memory struct {
	mu    sync.Mutex
	took  []string // kind/name=contents
	err   error
	while func() // called while a body is being read
}

func (m *memory) Accept(_ context.Context, d spool.Draft, body io.Reader) (uploads.Receipt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.while != nil {
		m.while()
	}
	b, err := io.ReadAll(body)
	if err = errors.Join(err, m.err); err != nil {
		return uploads.Receipt{}, err
	}
	m.took = append(m.took, d.Kind+"/"+d.Name.String()+"="+string(b))
	return uploads.Receipt{Kind: d.Kind, Name: d.Name.String()}, nil
}

var (
	written = time.Date(2026, 3, 1, 12, 30, 5, 0, time.Local)
	now     = written.Add(time.Hour)
)

func open(t *testing.T, dir string, s Spool) *Outbox {
	t.Helper()
	b, err := Open(dir, s, Options{Device: uploads.Device{Domain: "EXAMPLE", Name: "ws-17"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func drop(t *testing.T, dir, name, contents string, mtime time.Time) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(contents), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, mtime, mtime); err != nil {
		t.Fatal(err)
	}
}

func scan(t *testing.T, b *Outbox, at time.Time) (taken, settling int) {
	t.Helper()
	taken, settling, err := b.Scan(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	return taken, settling
}

func exists(t *testing.T, dir, name string) bool {
	t.Helper()
	_, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(name)))
	return err == nil
}

func TestOutboxTakesAnyCompleteFile(t *testing.T) {
	dir, s := t.TempDir(), &memory{}
	b := open(t, dir, s)
	for name, want := range map[string]string{
		"Inventories/mainframe.ndi":                          "Inventories/ws-17 at 20260301T123005 (mainframe).ndi",
		"inventories/lower.ndi.gz":                           "Inventories/ws-17 at 20260301T123005 (lower).ndi.gz",
		"Inventories/ws-17 at 20260101T000000 (Full).ndi.gz": "Inventories/ws-17 at 20260101T000000 (Full).ndi.gz",
		"Inventories/other at 20260101T000000 (x).ndi":       "Inventories/ws-17 at 20260301T123005 (other at 20260101T000000_(x)).ndi",
		"Logs/_underscore.log":                               "Logs/ws-17 at 20260301T123005 (_underscore).log",
		"Weather/rain.csv":                                   "Weather/ws-17 at 20260301T123005 (rain).csv",
	} {
		drop(t, dir, name, "x", written)
		if taken, _ := scan(t, b, now); taken != 1 || s.took[len(s.took)-1] != want+"=x" {
			t.Errorf("%s: took %d, %q", name, taken, s.took)
		}
		if exists(t, dir, name) {
			t.Errorf("%s is still there", name)
		}
	}
	if len(b.Stuck()) != 0 || b.Left() != 0 {
		t.Errorf("stuck %v, left %d", b.Stuck(), b.Left())
	}
}

func TestOutboxWaitsUntilFileIsStill(t *testing.T) {
	dir, s := t.TempDir(), &memory{}
	b := open(t, dir, s)
	const file = "Logs/growing.log"
	drop(t, dir, file, "a", written)
	if taken, settling := scan(t, b, written.Add(time.Second)); taken != 0 || settling != 1 || b.Left() != 1 {
		t.Errorf("a second old: took %d, settling %d", taken, settling)
	}
	drop(t, dir, file, "ab", written.Add(time.Second))
	if taken, settling := scan(t, b, written.Add(2900*time.Millisecond)); taken != 0 || settling != 1 {
		t.Errorf("changed: took %d, settling %d", taken, settling)
	}
	if taken, _ := scan(t, b, written.Add(3*time.Second)); taken != 1 || !strings.HasSuffix(s.took[0], "=ab") {
		t.Errorf("still for 2 s: took %d, %q", taken, s.took)
	}
}

func TestOutboxGoesByItsOwnClockForFilesOfTheFuture(t *testing.T) {
	dir, s := t.TempDir(), &memory{}
	b := open(t, dir, s)
	drop(t, dir, "Logs/future.log", "a", now.Add(time.Hour))
	if taken, settling := scan(t, b, now); taken != 0 || settling != 1 {
		t.Errorf("at first sight: took %d, settling %d", taken, settling)
	}
	if taken, _ := scan(t, b, now.Add(Settle)); taken != 1 {
		t.Errorf("after 2 s: took %d", taken)
	}
}

func TestOutboxLeavesWhatItCannotSend(t *testing.T) {
	dir, s := t.TempDir(), &memory{}
	b := open(t, dir, s)
	bad := []string{
		"Inventories/wrong.exe", "Inventories/no-extension", "loose.ndi", "Inventories/b:d.ndi",
		"Inventories/" + strings.Repeat("x", 190) + ".ndi", "bad folder?/x.log",
	}
	for _, name := range bad {
		drop(t, dir, name, "x", written)
	}
	if err := os.Mkdir(filepath.Join(dir, "Logs", "folder.log"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "Logs", "link.log")); err != nil {
		t.Fatal(err)
	}
	drop(t, dir, "Logs/.hidden.log", "x", written)
	drop(t, dir, ".git/x.log", "x", written)
	drop(t, dir, "Logs/good.log", "x", written)
	if taken, settling := scan(t, b, now); taken != 1 || settling != 0 {
		t.Errorf("took %d, settling %d: %q", taken, settling, s.took)
	}
	stuck := b.Stuck()
	if len(stuck) != len(bad)+2 || b.Left() != len(stuck) {
		t.Errorf("stuck %+v", stuck)
	}
	for _, f := range stuck {
		if f.Reason == "" || !exists(t, dir, strings.TrimPrefix(f.Kind+"/"+f.File, "/")) {
			t.Errorf("%+v", f)
		}
	}
	for _, name := range []string{"Logs/.hidden.log", ".git/x.log"} {
		if !exists(t, dir, name) {
			t.Errorf("%s is gone", name)
		}
	}
	if err := os.Remove(filepath.Join(dir, "Inventories", "wrong.exe")); err != nil {
		t.Fatal(err)
	}
	scan(t, b, now)
	if len(b.Stuck()) != len(stuck)-1 {
		t.Errorf("a file that went is still reported")
	}
}

func TestOutboxKeepsFileThatSpoolDoesNotTake(t *testing.T) {
	dir, s := t.TempDir(), &memory{err: uploads.ErrFull}
	b := open(t, dir, s)
	drop(t, dir, "Logs/a.log", "x", written)
	if taken, _, err := b.Scan(t.Context(), now); taken != 0 || !errors.Is(err, uploads.ErrFull) || b.Left() != 1 || !exists(t, dir, "Logs/a.log") {
		t.Errorf("full: took %d, %v", taken, err)
	}
	s.err = uploads.ErrTooLarge
	if scan(t, b, now); len(b.Stuck()) != 1 || !exists(t, dir, "Logs/a.log") {
		t.Errorf("too large: stuck %+v", b.Stuck())
	}
	s.err = nil
	if taken, _ := scan(t, b, now); taken != 1 || exists(t, dir, "Logs/a.log") {
		t.Errorf("took %d", taken)
	}
}

func TestOutboxDoesNotTakeFileThatChangesUnderIt(t *testing.T) {
	dir, s := t.TempDir(), &memory{}
	b := open(t, dir, s)
	drop(t, dir, "Logs/a.log", "old", written)
	s.while = func() {
		f, err := os.OpenFile(filepath.Join(dir, "Logs", "a.log"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(" and more"); err != nil {
			t.Fatal(err)
		}
	}
	if taken, settling := scan(t, b, now); taken != 0 || settling != 1 || len(s.took) != 0 {
		t.Errorf("took %d %q, settling %d", taken, s.took, settling)
	}
	s.while = nil
	if taken, _ := scan(t, b, time.Now().Add(time.Hour)); taken != 1 || !strings.HasSuffix(s.took[0], "=old and more") {
		t.Errorf("took %d %q", taken, s.took)
	}
}

func TestOutboxKeepsFileThatReplacedTheTakenOne(t *testing.T) {
	dir, s := t.TempDir(), &memory{}
	b := open(t, dir, s)
	drop(t, dir, "Logs/a.log", "first", written)
	s.while = func() {
		s.while = nil
		drop(t, dir, "Logs/new", "second", written)
		if err := os.Rename(filepath.Join(dir, "Logs", "new"), filepath.Join(dir, "Logs", "a.log")); err != nil {
			t.Fatal(err)
		}
	}
	scan(t, b, now)
	if !exists(t, dir, "Logs/a.log") {
		t.Fatal("the second file was removed unsent")
	}
	scan(t, b, now)
	var contents []string
	for _, took := range s.took {
		_, c, _ := strings.Cut(took, "=")
		contents = append(contents, c)
	}
	if !slices.Equal(contents, []string{"first", "second"}) || exists(t, dir, "Logs/a.log") {
		t.Errorf("took %q", s.took)
	}
}

func TestOutboxPutsBackWhatACrashLeft(t *testing.T) {
	dir, s := t.TempDir(), &memory{}
	drop(t, dir, "Logs/.a.log"+takenSuffix, "first", written)
	drop(t, dir, "Logs/.b.log"+takenSuffix, "first", written)
	drop(t, dir, "Logs/b.log", "second", written)
	b := open(t, dir, s)
	if taken, _ := scan(t, b, now); taken != 3 {
		t.Errorf("took %d: %q", taken, s.took)
	}
}

func TestOutboxRunNoticesNewFiles(t *testing.T) {
	dir, s := t.TempDir(), &memory{}
	b := open(t, dir, s)
	ctx, cancel := context.WithCancel(t.Context())
	scanned := make(chan struct{}, 100)
	done := make(chan error)
	go func() { done <- b.Run(ctx, func() { scanned <- struct{}{} }) }()
	<-scanned
	tmp := filepath.Join(dir, "Logs", ".tmp")
	drop(t, dir, "Logs/.tmp", "x", written)
	if err := os.Rename(tmp, filepath.Join(dir, "Logs", "a.log")); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(rescan / 2)
	for {
		s.mu.Lock()
		n := len(s.took)
		s.mu.Unlock()
		if n == 1 {
			break
		}
		select {
		case <-scanned:
		case <-deadline:
			t.Fatal("the file was not noticed")
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
