package directory_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/directory"
	"inventorybeacon/uploads/uploadstest"
)

func open(t *testing.T, dir string, o directory.Options) *directory.Sink {
	t.Helper()
	s, err := directory.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// visible returns what an importer sees: path below Incoming and contents.
func visible(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	root := filepath.Join(dir, "Incoming")
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		out[filepath.ToSlash(rel)], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func names(m map[string][]byte) []string {
	var out []string
	for n := range m {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

func put(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	path := filepath.Join(dir, "Incoming", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func mustDeliver(t *testing.T, s uploads.Sink, parcels ...uploads.Parcel) {
	t.Helper()
	for i, d := range s.Deliver(t.Context(), parcels) {
		if d.Err != nil {
			t.Fatalf("%s: %v", parcels[i].Name, d.Err)
		}
	}
}

func TestSinkConforms(t *testing.T) {
	uploadstest.TestSink(t, func(t *testing.T) *uploadstest.Destination {
		dir := t.TempDir()
		return &uploadstest.Destination{
			Level: uploads.LevelStore,
			Open:  func(t *testing.T) uploads.Sink { return open(t, dir, directory.Options{Identity: "b1"}) },
			Held: func(t *testing.T) (out []uploadstest.Holding) {
				for name, b := range visible(t, dir) {
					out = append(out, uploadstest.Holding{Kind: filepath.Dir(name), Digest: uploads.DigestOf(b)})
				}
				if left, _ := os.ReadDir(filepath.Join(dir, ".partial")); len(left) > 0 {
					t.Errorf("%d files are left in .partial", len(left))
				}
				return out
			},
			Plant: func(t *testing.T, u uploads.Upload, data []byte) { put(t, dir, u.Kind+"/"+u.Name.String(), data) },
			Break: func(t *testing.T) func() {
				blocker := filepath.Join(dir, "Incoming", "Inventories")
				if err := os.WriteFile(blocker, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				return func() { os.Remove(blocker) }
			},
		}
	})
}

func TestSinkMarksNamesThatAreTaken(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, directory.Options{})
	first := uploadstest.Parcel(t, "Inventories", "PC1 at 20261122T093000.ndi.gz", []byte("first"))
	second := uploadstest.Parcel(t, "Inventories", "PC1 at 20261122T093000.ndi.gz", []byte("second"))
	twin := uploadstest.Parcel(t, "Inventories", "pc1 at 20261122t093000.NDI.gz", []byte("third"))
	mustDeliver(t, s, first)
	mustDeliver(t, s, second)
	mustDeliver(t, s, twin)
	want := []string{
		"Inventories/PC1 at 20261122T093000." + second.Digest.String()[:8] + ".ndi.gz",
		"Inventories/PC1 at 20261122T093000.ndi.gz",
		"Inventories/pc1 at 20261122t093000." + twin.Digest.String()[:8] + ".NDI.gz",
	}
	if got := names(visible(t, dir)); !slices.Equal(got, want) {
		t.Errorf("names %q\nwant %q", got, want)
	}
}

// The marked name may be taken by other bytes too, if somebody means harm.
func TestSinkFindsNameWhenMarkedOneIsTaken(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, directory.Options{})
	p := uploadstest.Parcel(t, "Logs", "PC1.log", []byte("right"))
	marked := "Logs/PC1." + p.Digest.String()[:8] + ".log"
	put(t, dir, "Logs/PC1.log", []byte("other"))
	put(t, dir, marked, []byte("harm"))
	mustDeliver(t, s, p)
	got := visible(t, dir)
	if len(got) != 3 || string(got[marked]) != "harm" || string(got["Logs/PC1.log"]) != "other" {
		t.Errorf("files %q", names(got))
	}
}

// A repeat after the importer took the plain name finds the marked one.
func TestSinkKnowsItsDeliveryUnderEitherName(t *testing.T) {
	dir := t.TempDir()
	p := uploadstest.Parcel(t, "Logs", "PC1.log", []byte("right"))
	marked := "Logs/PC1." + p.Digest.String()[:8] + ".log"
	put(t, dir, marked, []byte("right"))
	mustDeliver(t, open(t, dir, directory.Options{}), p)
	if got := names(visible(t, dir)); !slices.Equal(got, []string{marked}) {
		t.Errorf("files %q", got)
	}
}

// Importers take files, and put others there, while the sink works.
func TestSinkNoticesWhatImportersDo(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, directory.Options{})
	p := uploadstest.Parcel(t, "Logs", "PC1.log", []byte("right"))
	mustDeliver(t, s, p)
	if err := os.Remove(filepath.Join(dir, "Incoming/Logs/PC1.log")); err != nil {
		t.Fatal(err)
	}
	mustDeliver(t, s, p)
	if got := names(visible(t, dir)); !slices.Equal(got, []string{"Logs/PC1.log"}) {
		t.Errorf("after the file was taken: %q", got)
	}
	if err := os.RemoveAll(filepath.Join(dir, "Incoming")); err != nil {
		t.Fatal(err)
	}
	if d := s.Deliver(t.Context(), []uploads.Parcel{p}); d[0].Err != nil {
		t.Errorf("after the folder was taken: %v", d[0].Err)
	}
}

// A file that appears without the folder showing it, as two changes within one
// tick of the clock can, is not overwritten either.
func TestSinkOverwritesNothingItDoesNotKnow(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, directory.Options{})
	mustDeliver(t, s, uploadstest.Parcel(t, "Logs", "PC0.log", []byte("first")))
	folder := filepath.Join(dir, "Incoming/Logs")
	before, err := os.Stat(folder)
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "Logs/PC1.log", []byte("other"))
	put(t, dir, "Logs/PC2.log", []byte("same"))
	if err := os.Chtimes(folder, before.ModTime(), before.ModTime()); err != nil {
		t.Fatal(err)
	}
	p := uploadstest.Parcel(t, "Logs", "PC1.log", []byte("right"))
	mustDeliver(t, s, p, uploadstest.Parcel(t, "Logs", "PC2.log", []byte("same")))
	got := visible(t, dir)
	if string(got["Logs/PC1.log"]) != "other" || string(got["Logs/PC1."+p.Digest.String()[:8]+".log"]) != "right" || len(got) != 4 {
		t.Errorf("files %q", names(got))
	}
}

func TestSinkSweepsOnlyItsOwn(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, directory.Options{}).Close()
	for _, name := range []string{".ABC.tmp", "note.txt"} {
		if err := os.WriteFile(filepath.Join(dir, ".partial", name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(t, dir, "Logs/left.tmp", []byte("x"))
	open(t, dir, directory.Options{})
	left, err := os.ReadDir(filepath.Join(dir, ".partial"))
	if err != nil || len(left) != 1 || left[0].Name() != "note.txt" {
		t.Errorf(".partial holds %v, %v; want note.txt", left, err)
	}
	if got := names(visible(t, dir)); !slices.Equal(got, []string{"Logs/left.tmp"}) {
		t.Errorf("Incoming holds %q", got)
	}
}

func TestSinkPausesWhenTooMuchWaits(t *testing.T) {
	for name, o := range map[string]directory.Options{"files": {MaxFiles: 3}, "bytes": {MaxBytes: 300}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, o)
			parcel := func(i int) uploads.Parcel {
				return uploadstest.Parcel(t, "Logs", fmt.Sprintf("PC%d.log", i), bytes.Repeat([]byte{byte(i)}, 100))
			}
			for i := range 3 {
				mustDeliver(t, s, parcel(i))
			}
			got := s.Deliver(t.Context(), []uploads.Parcel{parcel(3)})
			if retry, ok := errors.AsType[*uploads.RetryError](got[0].Err); !ok || retry.After <= 0 {
				t.Fatalf("with 3 files waiting: %v, want a wish to be left alone", got[0].Err)
			}
			if err := os.Remove(filepath.Join(dir, "Incoming/Logs/PC1.log")); err != nil {
				t.Fatal(err)
			}
			mustDeliver(t, s, parcel(3))
		})
	}
}

func TestSinkRefusesKindsThatAreNoFolder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "relay"), directory.Options{})
	for _, kind := range []string{"../out", "a/b", ".partial", ""} {
		p := uploadstest.Parcel(t, kind, "PC1.log", []byte("x"))
		if d := s.Deliver(t.Context(), []uploads.Parcel{p}); d[0].Err == nil {
			t.Errorf("kind %q: delivered", kind)
		}
	}
	mustDeliver(t, s, uploadstest.Parcel(t, "Any Kind", "PC1.log", []byte("x")))
	if ents, err := os.ReadDir(dir); err != nil || len(ents) != 1 {
		t.Errorf("outside the directory: %v, %v", ents, err)
	}
}

// BenchmarkGroup shows what a group costs, by its size.
func BenchmarkGroup(b *testing.B) {
	data := uploadstest.Noise(20_000, 1)
	for _, size := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s, err := directory.Open(b.TempDir(), directory.Options{Group: size})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			for n := 0; b.Loop(); n++ {
				var parcels []uploads.Parcel
				for i := range size {
					parcels = append(parcels, uploadstest.Parcel(b, "Inventories", fmt.Sprintf("PC%d-%d.ndi", n, i), data))
				}
				for _, d := range s.Deliver(b.Context(), parcels) {
					if d.Err != nil {
						b.Fatal(d.Err)
					}
				}
			}
			b.ReportMetric(float64(size*b.N)/b.Elapsed().Seconds(), "files/s")
		})
	}
}
