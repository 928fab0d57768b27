package drop_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"inventorybeacon/policy"
	"inventorybeacon/policy/bundle"
	"inventorybeacon/policy/drop"
	"inventorybeacon/policy/revision"
)

const settle = 2 * time.Second // of scans at a time that the test tells

// A desk is a drop folder with a store behind it.
type desk struct {
	t      *testing.T
	dir    string
	store  *revision.Store
	folder *drop.Folder
	now    time.Time
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	store, err := revision.Open(filepath.Join(t.TempDir(), "policy"), revision.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	d := &desk{t: t, dir: filepath.Join(t.TempDir(), "drop"), store: store, now: time.Now()}
	d.folder = d.open(store)
	return d
}

func (d *desk) open(s drop.Store) *drop.Folder {
	d.t.Helper()
	f, err := drop.Open(d.dir, s, drop.Options{Settle: settle, Wait: time.Minute})
	if err != nil {
		d.t.Fatal(err)
	}
	return f
}

func (d *desk) write(name, text string) {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		d.t.Fatal(err)
	}
}

// scan lets time pass and looks.
func (d *desk) scan(pass time.Duration) time.Time {
	d.t.Helper()
	d.now = d.now.Add(pass)
	next, err := d.folder.Scan(d.t.Context(), d.now)
	if err != nil {
		d.t.Fatal(err)
	}
	return next
}

// settled looks, and looks again when everything has been still for long enough.
func (d *desk) settled() {
	d.t.Helper()
	d.scan(0)
	d.scan(settle)
}

func (d *desk) revision() uint64 { return d.store.Current().Revision().Number }

func (d *desk) there(path string) bool {
	_, err := os.Lstat(filepath.Join(d.dir, path))
	return err == nil
}

func (d *desk) expect(there bool, paths ...string) {
	d.t.Helper()
	for _, p := range paths {
		if d.there(p) != there {
			d.t.Errorf("%s: there %v, want %v", p, !there, there)
		}
	}
}

func (d *desk) why(name string) string {
	d.t.Helper()
	b, err := os.ReadFile(filepath.Join(d.dir, "rejected", name+".why.txt"))
	if err != nil {
		d.t.Error(err)
	}
	return string(b)
}

func text(generation int) string {
	return fmt.Sprintf("bundle: a\nsettings: {S: {A: g%d, B: g%d}}\n", generation, generation)
}

func archive(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	err := w.WriteHeader(&tar.Header{Name: "bundle.yaml", Mode: 0o644, Size: int64(len(text))})
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err = errors.Join(err, w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFolderIsPublishedOnceItIsStill(t *testing.T) {
	d := newDesk(t)
	d.expect(true, "done", "rejected")
	d.write("site/bundle.yaml", text(1))
	if next := d.scan(0); !next.Equal(d.now.Add(settle)) {
		t.Errorf("looks again at %v", next)
	}
	d.write("site/Schedules/a.nds", "x") // the copy goes on
	d.scan(settle)
	d.scan(settle / 2)
	if d.revision() != 0 {
		t.Fatal("published while it was changing")
	}
	if next := d.scan(settle / 2); d.revision() != 1 || !next.IsZero() {
		t.Fatalf("revision %d, looks again at %v", d.revision(), next)
	}
	d.expect(false, "site")
	d.expect(true, "done/site-1/bundle.yaml")
}

func TestEqualDropMakesNoRevision(t *testing.T) {
	d := newDesk(t)
	for range 3 {
		d.write("site/bundle.yaml", text(1))
		d.settled()
	}
	if d.revision() != 1 {
		t.Errorf("revision %d", d.revision())
	}
	d.expect(false, "site")
	d.expect(true, "done/site-1", "done/site-1.1", "done/site-1.2")
}

func TestWrongBundleIsRejectedWithEveryReason(t *testing.T) {
	d := newDesk(t)
	d.write("site/bundle.yaml", text(1))
	d.settled()
	for range 2 {
		d.write("site/bundle.yaml", "bundle: a\npriority: x\nsetings: {}\n")
		d.settled()
	}
	d.expect(false, "site")
	d.expect(true, "rejected/site/bundle.yaml", "rejected/site.1/bundle.yaml", "rejected/site.1.why.txt")
	if why := d.why("site"); !strings.Contains(why, "bundle.yaml:2: ") || !strings.Contains(why, "bundle.yaml:3: ") {
		t.Errorf("%s", why)
	}
	if d.revision() != 1 {
		t.Errorf("revision %d: the old one is to stay in force", d.revision())
	}
}

func TestFolderWithoutManifestIsWaitedFor(t *testing.T) {
	d := newDesk(t)
	d.write("late/notes.txt", "coming")
	d.write("never/notes.txt", "coming")
	d.settled()
	d.scan(30 * time.Second)
	d.expect(true, "late", "never")
	d.write("late/bundle.yaml", text(1))
	d.settled()
	if d.revision() != 1 {
		t.Error("what came late is not taken")
	}
	d.scan(30 * time.Second)
	d.expect(true, "rejected/never")
	if why := d.why("never"); !strings.Contains(why, "bundle.yaml") {
		t.Errorf("%s", why)
	}
}

func TestFolderWithoutANamedFileIsWaitedFor(t *testing.T) {
	d := newDesk(t)
	d.write("staging/Schedules/a.osd", `<SOFTPKG NAME="a"><IMPLEMENTATION><CODEBASE FILENAME="a.nds"/></IMPLEMENTATION></SOFTPKG>`)
	d.settled()
	d.scan(10 * time.Second)
	if d.revision() != 0 {
		t.Fatal("half a package is published")
	}
	d.write("staging/Schedules/a.nds", "x")
	d.settled()
	if _, err := d.store.Current().File("Schedules/a.nds"); err != nil || d.revision() != 1 {
		t.Errorf("revision %d, %v", d.revision(), err)
	}
}

func TestHiddenNamesAreNotLookedAt(t *testing.T) {
	d := newDesk(t)
	d.write(".site/bundle.yaml", text(1))
	d.write(".DS_Store", "x")
	d.settled()
	if d.revision() != 0 {
		t.Error("it is published")
	}
	d.expect(true, ".site", ".DS_Store")
}

func TestLinkIsRefused(t *testing.T) {
	d := newDesk(t)
	elsewhere := filepath.Join(t.TempDir(), "site")
	if err := errors.Join(os.Mkdir(elsewhere, 0o755), os.WriteFile(filepath.Join(elsewhere, "bundle.yaml"), []byte(text(1)), 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(d.dir, "linked")); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	d.settled()
	if d.revision() != 0 || !strings.Contains(d.why("linked"), "links are not followed") {
		t.Errorf("revision %d, %s", d.revision(), d.why("linked"))
	}
	if _, err := os.Stat(filepath.Join(elsewhere, "bundle.yaml")); err != nil {
		t.Errorf("what the link leads to was touched: %v", err)
	}
}

func TestCutArchiveIsNeverPublished(t *testing.T) {
	d := newDesk(t)
	whole := string(archive(t, text(1)))
	for tenth := range 10 {
		d.write(fmt.Sprintf("cut%d.tar.gz", tenth), whole[:len(whole)*tenth/10])
	}
	d.settled()
	for tenth := range 10 {
		d.expect(true, fmt.Sprintf("rejected/cut%d.tar.gz", tenth), fmt.Sprintf("rejected/cut%d.tar.gz.why.txt", tenth))
	}
	if d.revision() != 0 {
		t.Error("a cut archive is in force")
	}
	d.write("whole.tar.gz", whole)
	d.settled()
	if d.revision() != 1 {
		t.Error("the whole one is not in force")
	}
	d.expect(true, "done/whole.tar.gz-1")
}

// A spoiler changes what lies in the drop folder at the last moment at which
// that can matter: when everything was read, before it is moved away.
type spoiler struct {
	*revision.Store
	spoil func()
}

func (s spoiler) Publish(ctx context.Context, b *bundle.Bundle, by, comment string) (revision.Result, error) {
	s.spoil()
	return s.Store.Publish(ctx, b, by, comment)
}

func TestReplacementThatComesLateIsPublishedToo(t *testing.T) {
	for name, put := range map[string]func(d *desk, text string){
		"archive": func(d *desk, text string) {
			d.write(".next", string(archive(t, text)))
			if err := os.Rename(filepath.Join(d.dir, ".next"), filepath.Join(d.dir, "a.tar.gz")); err != nil {
				t.Fatal(err)
			}
		},
		"folder": func(d *desk, text string) { d.write("a.tar.gz/bundle.yaml", text) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			const last = 4
			generation := 1
			put(d, text(generation))
			d.folder = d.open(spoiler{d.store, func() {
				if generation < last {
					generation++
					put(d, text(generation))
				}
			}})
			for range 2 * last {
				d.scan(settle)
			}
			e, err := d.store.Current().Effective(policy.Query{Device: "x"})
			if err != nil {
				t.Fatal(err)
			}
			if s := e.Settings["S"]; s["A"] != s["B"] || s["A"] != "g4" || d.revision() != last {
				t.Errorf("in force: %v, revision %d", s, d.revision())
			}
			d.expect(false, "a.tar.gz")
			d.expect(true, "done/a.tar.gz-4")
		})
	}
}

// A failing store fails so many times.
type failing struct {
	*revision.Store
	left int
}

func (s *failing) Publish(ctx context.Context, b *bundle.Bundle, by, comment string) (revision.Result, error) {
	if s.left--; s.left >= 0 {
		return revision.Result{}, errors.New("no space left on device")
	}
	return s.Store.Publish(ctx, b, by, comment)
}

func TestFailureThatIsNotTheBundlesIsTriedAgain(t *testing.T) {
	d := newDesk(t)
	d.folder = d.open(&failing{d.store, 2})
	d.write("site/bundle.yaml", text(1))
	d.settled()
	d.expect(true, "site")
	for range 2 {
		d.scan(5 * time.Minute)
	}
	d.expect(false, "site", "rejected/site")
	if d.revision() != 1 {
		t.Errorf("revision %d", d.revision())
	}
}

func TestMirrorRejectsDropsAndNamesThePublisher(t *testing.T) {
	d, publisher := newDesk(t), newDesk(t)
	publisher.write("site/bundle.yaml", text(1))
	publisher.settled()
	var b bytes.Buffer
	if err := publisher.store.Export(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if _, err := d.store.Import(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	d.write("mine/bundle.yaml", text(2))
	d.settled()
	if why := d.why("mine"); !strings.Contains(why, publisher.store.Publisher()) {
		t.Errorf("%s", why)
	}
	d.expect(true, "rejected/mine")
}

// run starts the loop with short times, and stops it at the end of the test.
func run(t *testing.T, d *desk, o drop.Options) {
	t.Helper()
	f, err := drop.Open(d.dir, d.store, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 15 s: %s", what)
		}
	}
}

func TestNotificationMakesItQuick(t *testing.T) {
	d := newDesk(t)
	run(t, d, drop.Options{Settle: 50 * time.Millisecond, Rescan: time.Hour})
	d.write(".tmp/bundle.yaml", text(1))
	if err := os.Rename(filepath.Join(d.dir, ".tmp"), filepath.Join(d.dir, "site")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "published", func() bool { return d.revision() == 1 })
}

func TestRecreatedFolderIsWatchedAgain(t *testing.T) {
	d := newDesk(t)
	run(t, d, drop.Options{Settle: 50 * time.Millisecond, Rescan: 200 * time.Millisecond})
	eventually(t, "watching", func() bool { return d.there("done") })
	eventually(t, "removed", func() bool { return os.RemoveAll(d.dir) == nil }) // it may be made again at once
	eventually(t, "made again", func() bool { return d.there("done") && d.there("rejected") })
	d.write("site/bundle.yaml", text(1))
	eventually(t, "published", func() bool { return d.revision() == 1 })
}

func TestSlowCopyIsPublishedWhole(t *testing.T) {
	d := newDesk(t)
	run(t, d, drop.Options{Settle: 400 * time.Millisecond, Rescan: 100 * time.Millisecond})
	const parts = 12
	for i := range parts {
		d.write(fmt.Sprintf("staging/Schedules/part%02d.nds", i), "x")
		time.Sleep(60 * time.Millisecond) // the copy is slow: nothing is waited for
		if s := d.store.Current(); !s.Revision().IsZero() {
			t.Fatalf("published after %d of %d parts", i+1, parts)
		}
	}
	eventually(t, "published", func() bool { return d.revision() == 1 })
	for i := range parts {
		if _, err := d.store.Current().File(fmt.Sprintf("Schedules/part%02d.nds", i)); err != nil {
			t.Errorf("part %d: %v", i, err)
		}
	}
}
