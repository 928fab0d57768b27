package bundle_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"inventorybeacon/policy/bundle"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

const samples = "../../testdata/bundles"

const small = "bundle: small\nsettings: {Tracker: {A: b}}\n"

func open(t *testing.T, src string) *bundle.Bundle {
	t.Helper()
	b, err := bundle.Open(src)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func write(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// mistakes opens src, which must be wrong, and returns what is said about it.
func mistakes(t *testing.T, src string) []string {
	t.Helper()
	b, err := bundle.Open(src)
	if err == nil {
		b.Close()
		t.Fatal("it is taken")
	}
	all, ok := errors.AsType[bundle.Mistakes](err)
	if !ok {
		t.Fatalf("not mistakes: %v", err)
	}
	return strings.Split(all.Error(), "\n")
}

func TestSampleBundleIsRead(t *testing.T) {
	b := open(t, filepath.Join(samples, "head-office"))
	if b.Name != "head-office" || b.Priority != 50 || len(b.Schedule) != 3 || b.Settings["Tracker"]["IncludeDirectory"] != "/opt;/srv" {
		t.Errorf("%+v", b.Bundle)
	}
	poll := b.Schedule[0]
	if poll.Run != "policy" || len(poll.Triggers) != 3 || poll.Triggers[0].Repeat != 12*time.Hour || poll.Triggers[0].Window != time.Hour {
		t.Errorf("%+v", poll)
	}
	if f := b.Failover; f.Selector != "MgsPing" || f.Beacons[0].Download != "http://127.0.0.1:8080/ManageSoftDL" || f.Beacons[0].Upload != "http://127.0.0.1:8080/ManageSoftRL" {
		t.Errorf("%+v", b.Failover)
	}
	if !slices.ContainsFunc(b.Warnings, func(w string) bool { return strings.Contains(w, "Generate Inventory") }) {
		t.Errorf("nothing says that old agents are not told to take an inventory: %q", b.Warnings)
	}
}

func TestStagingFolderIsABundle(t *testing.T) {
	b := open(t, filepath.Join(samples, "staging-sample"))
	if !b.Staging || b.Name != "staging-sample" || b.Priority != 100 || len(b.Files) != 14 || len(b.Missing) != 0 {
		t.Errorf("%+v %q", b.Bundle, b.Missing)
	}
	for _, f := range b.Files {
		want, err := os.ReadFile(filepath.Join(samples, "staging-sample", f.Path))
		if err != nil {
			t.Fatal(err)
		}
		file, err := b.OpenFile(f)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(file)
		file.Close()
		if err != nil || !bytes.Equal(got, want) || f.Size != int64(len(want)) {
			t.Errorf("%s: %v, %d bytes of %d", f.Path, err, len(got), len(want))
		}
	}
	if said := strings.Join(b.Warnings, "\n"); !strings.Contains(said, "ws-porto-0A141E29") || strings.Contains(said, "ws-lisbon") || strings.Contains(said, "printserver") {
		t.Errorf("which policy cannot be told apart: %s", said)
	}
}

func TestEveryMistakeIsToldWithItsLine(t *testing.T) {
	src := write(t, t.TempDir(), map[string]string{"bundle.yaml": `bundle: "a/b"
aplies_to: {}
applies_to:
  devices: ["[a"]
  addresses: [10.1.2.3/8, nonsense]
  platforms: [plan9]
priority: soon
schedule:
  - event: Poll
    run: format-disk
    triggers: [{type: daily, at: "25:00"}]
  - event: Other
    run: policy
    catchup: always
    triggers:
      - {type: fortnightly}
      - {type: daily, repeat: 1h}
  - event: Third
    run: policy
    trigers: []
settings:
  Tracker: {A: 1, a: 2}
failover:
  selector: "MgsNonsense"
  beacons:
    - {name: b1, url: "ftp://b1"}
    - {name: b2, url: "https://user:pw@b2"}
    - {name: b3}
    - {name: b4, url: "https://b4", proxy: "x"}
priority: 3
upgrade: []
rollout: {}
`})
	got := mistakes(t, src)
	for _, want := range []string{
		`bundle.yaml:1: bundle: "a/b" cannot be a name`, `bundle.yaml:2: a bundle has no "aplies_to"`,
		`bundle.yaml:4: devices: "[a" is not a shell pattern`, `bundle.yaml:5: addresses: "10.1.2.3/8" has bits set`,
		`bundle.yaml:5: addresses: "nonsense" is not a network`, `bundle.yaml:6: platforms: "plan9"`, `bundle.yaml:7: priority must be a number`,
		`bundle.yaml:10: event "Poll": run is "format-disk"`, `bundle.yaml:11: event "Poll": triggers[0].at`,
		`bundle.yaml:14: event "Other": catchup`, `bundle.yaml:16: event "Other": triggers[0].type`,
		`bundle.yaml:20: an event has no "trigers"`, `bundle.yaml:22: settings: Tracker: "a" is there already, in line 22`,
		`bundle.yaml:24: selector`, `bundle.yaml:26: url: "ftp://b1"`, `bundle.yaml:27: url: it holds a user or password`,
		`bundle.yaml:28: beacon "b3" has neither`, `bundle.yaml:29: proxy: "x"`, `bundle.yaml:30: "priority" is there already, in line 7`,
		`bundle.yaml:31: this version does not know "upgrade"`, `bundle.yaml:32: this version does not know "rollout"; ignoring it would publish to every device at once`,
	} {
		if !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Errorf("nothing says %q", want)
		}
	}
	if t.Failed() {
		t.Log(strings.Join(got, "\n"))
	}
}

func TestYAMLThatIsNoneIsToldWithItsLine(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"syntax":          {"bundle: a\n  b: [\n", "bundle.yaml:2: "},
		"empty":           {"", "bundle.yaml: it is empty"},
		"a list":          {"- a\n", "bundle.yaml:1: a bundle must be a list of names and values"},
		"two documents":   {"bundle: a\n---\nbundle: b\n", "a second document"},
		"no name":         {"settings: {}\n", "the name is missing"},
		"not UTF-8":       {"bundle: a\nsettings: \xff\n", "bundle.yaml:2: "},
		"an alias":        {"bundle: a\nsettings: &x {}\nfailover: *x\n", "bundle.yaml:3: \"failover\": aliases are not taken"},
		"event twice":     {"bundle: a\nschedule:\n  - {event: E, run: policy, triggers: [{type: now}]}\n  - {event: e, run: policy, triggers: [{type: now}]}\n", "bundle.yaml:4: event \"e\" is there already, in line 3"},
		"no triggers":     {"bundle: a\nschedule:\n  - {event: E, run: policy}\n", "bundle.yaml:3: event \"E\": triggers is empty"},
		"control signs":   {"bundle: a\nsettings: {S: {A: \"\\e\"}}\n", "bundle.yaml:2: S: A holds a control character"},
		"at for connect":  {"bundle: a\nschedule:\n  - event: E\n    run: policy\n    triggers:\n      - {type: connect, at: \"01:00\"}\n", "bundle.yaml:6: event \"E\": triggers[0].at"},
		"beacon too much": {"bundle: a\nfailover:\n  beacons:\n    - {name: b, url: \"http://b\", upload: \"http://c\"}\n", "bundle.yaml:4: beacon \"b\" has url, and download or upload"},
	} {
		t.Run(name, func(t *testing.T) {
			got := mistakes(t, write(t, t.TempDir(), map[string]string{"bundle.yaml": tt.text}))
			if !strings.Contains(strings.Join(got, "\n"), tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestNoMistakeHidesAnother(t *testing.T) {
	const text = `priority: -1
schedule:
  - event: A
    run: dance
    foo: 1
    triggers:
      - {type: daily, at: "1:00", window: 25h}
      - {type: weekly, at: "01:00", weekdays: [someday], every: 99}
      - {type: once}
      - 7
  - {event: B, run: [policy], triggers: 5}
failover:
  beacons:
    - {url: "ftp://b", priority: high}
    - {name: c, upload: [1], url: "http://c"}
    - {name: C}
    - {name: ~, url: [1]}
`
	want := []string{
		"1: priority must be", "1: bundle: the name is missing",
		"4: event \"A\": run is \"dance\"", "5: an event has no \"foo\"",
		"7: event \"A\": triggers[0].at is wrong", "7: event \"A\": triggers[0].window must be",
		"8: event \"A\": triggers[1].weekdays is wrong", "8: event \"A\": triggers[1].every must not",
		"9: event \"A\": triggers[2].start is missing", "10: a trigger must be",
		"11: run must be one value", "11: triggers must be a list",
		"14: url: \"ftp://b\"", "14: priority must be", "14: a beacon has no name",
		"15: upload must be one value", "15: beacon \"c\" has url, and",
		"16: beacon \"C\" has neither", "16: beacon \"C\" is there twice",
		"17: url must be one value", "17: a beacon has no name",
	}
	got := mistakes(t, write(t, t.TempDir(), map[string]string{"bundle.yaml": text}))
	for _, w := range want {
		if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, "bundle.yaml:"+w) }) {
			t.Errorf("not told: %s", w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d mistakes, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
}

func TestHalfAFolderIsIncomplete(t *testing.T) {
	src := write(t, filepath.Join(t.TempDir(), "late"), map[string]string{"readme.txt": "more to come"})
	_, err := bundle.Open(src)
	if _, ok := errors.AsType[bundle.IncompleteError](err); !ok {
		t.Fatalf("%v, want incomplete", err)
	}
	write(t, src, map[string]string{"bundle.yaml": small})
	if b := open(t, src); b.Name != "small" || len(b.Warnings) == 0 {
		t.Errorf("%+v", b)
	}
	write(t, src, map[string]string{"Schedules/a.osd": `<SOFTPKG NAME="a"><IMPLEMENTATION><CODEBASE FILENAME="a.nds"/></IMPLEMENTATION></SOFTPKG>`})
	if b := open(t, src); len(b.Missing) != 1 {
		t.Errorf("missing %q, want the body of the catalogue", b.Missing)
	}
	write(t, src, map[string]string{"schedules/a.nds": "x"})
	if got := mistakes(t, src); !strings.Contains(got[0], "case only") && !strings.Contains(got[0], "twice") {
		t.Errorf("%q", got)
	}
}

func TestReadyMadeFileMustHaveAFolder(t *testing.T) {
	src := write(t, t.TempDir(), map[string]string{"bundle.yaml": small, "stray.osd": "x", ".hidden.osd": "x"})
	if got := mistakes(t, src); len(got) != 1 || !strings.HasPrefix(got[0], "stray.osd: ") {
		t.Errorf("%q", got)
	}
}

func TestLinkInAFolderIsRefused(t *testing.T) {
	dir := t.TempDir()
	src := write(t, filepath.Join(dir, "b"), map[string]string{"bundle.yaml": small})
	write(t, dir, map[string]string{"secret": "s"})
	if err := os.Symlink(filepath.Join(dir, "secret"), filepath.Join(src, "Schedules")); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	if got := mistakes(t, src); !strings.Contains(got[0], "link") {
		t.Errorf("%q", got)
	}
	if err := os.Symlink(src, filepath.Join(dir, "linked")); err != nil {
		t.Fatal(err)
	}
	if got := mistakes(t, filepath.Join(dir, "linked")); !strings.Contains(got[0], "links are not followed") {
		t.Errorf("%q", got)
	}
}

type file struct {
	name, text string
	typ        byte
}

func tarOf(t *testing.T, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.text)), Typeflag: f.typ, Linkname: "target"}
		if f.typ == 0 {
			h.Typeflag, h.Linkname = tar.TypeReg, ""
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipOf(t *testing.T, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate}
		h.SetMode(0o644)
		if f.typ == tar.TypeSymlink {
			h.SetMode(0o777 | os.ModeSymlink)
		}
		e, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(e, f.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipOf(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstdOf(t *testing.T, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

// archives packs the files in every way there is.
func archives(t *testing.T, files ...file) map[string][]byte {
	t.Helper()
	plain := tarOf(t, files...)
	return map[string][]byte{
		"a.tar.gz": gzipOf(t, plain), "b.tgz": gzipOf(t, plain), "c.tar.zst": zstdOf(t, plain), "D.ZIP": zipOf(t, files...),
	}
}

func save(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestArchiveIsRead(t *testing.T) {
	for _, top := range []string{"", "./", "small-1.0/"} {
		for name, b := range archives(t, file{name: top + "bundle.yaml", text: small}, file{name: top + "Schedules/a.osd", text: "x"}) {
			t.Run(top+name, func(t *testing.T) {
				if b := open(t, save(t, name, b)); b.Name != "small" || len(b.Files) != 1 || b.Files[0].Path != "Schedules/a.osd" {
					t.Errorf("%+v", b.Bundle)
				}
			})
		}
	}
}

func TestArchiveThatAttacksIsRefused(t *testing.T) {
	good := file{name: "bundle.yaml", text: small}
	for what, files := range map[string][]file{
		"climbs":              {good, {name: "../evil.osd", text: "x"}},
		"climbs further down": {good, {name: "Schedules/../../evil.osd", text: "x"}},
		"is absolute":         {good, {name: "/etc/evil.osd", text: "x"}},
		"has a backslash":     {good, {name: `Schedules\..\..\evil.osd`, text: "x"}},
		"has a drive":         {good, {name: "C:/evil.osd", text: "x"}},
		"names a device":      {good, {name: "Schedules/NUL.osd", text: "x"}},
		"has a link":          {good, {name: "Schedules", typ: tar.TypeSymlink}},
		"is there twice":      {good, good},
		"has twins":           {good, {name: "Schedules/a.osd", text: "x"}, {name: "Schedules/A.osd", text: "y"}},
		"has folder twins":    {good, {name: "Schedules/a.osd", text: "x"}, {name: "SCHEDULES/b.osd", text: "y"}},
		"looks like a digest": {good, {name: "Schedules/a~0123456789abcdef.osd", text: "x"}},
		"has control signs":   {good, {name: "Schedules/a\x1b.osd", text: "x"}},
		"is a bomb":           {good, {name: "Schedules/a.nds", text: strings.Repeat("\x00", 8<<20)}},
	} {
		for name, b := range archives(t, files...) {
			if what == "is a bomb" && name == "b.tgz" {
				continue // as a.tar.gz
			}
			t.Run(what+" in "+name, func(t *testing.T) {
				src := save(t, name, b)
				if got := mistakes(t, src); len(got) == 0 {
					t.Error("nothing is said")
				}
				if ents, err := os.ReadDir(filepath.Dir(src)); err != nil || len(ents) != 1 {
					t.Errorf("%v beside the archive, %v", ents, err)
				}
			})
		}
	}
	for _, typ := range []byte{tar.TypeLink, tar.TypeChar, tar.TypeFifo} {
		t.Run(fmt.Sprintf("type %c", typ), func(t *testing.T) {
			if got := mistakes(t, save(t, "a.tar.gz", gzipOf(t, tarOf(t, good, file{name: "Schedules/x", typ: typ})))); !strings.Contains(got[0], "link or a device") {
				t.Errorf("%q", got)
			}
		})
	}
}

// noise does not compress, so that every tenth of an archive cuts something.
func noise(n int) string {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return string(b)
}

func TestCutArchiveIsRefused(t *testing.T) {
	files := []file{{name: "bundle.yaml", text: small}, {name: "Schedules/a.nds", text: noise(5000)}, {name: "Schedules/b.nds", text: noise(5000)}}
	all := archives(t, files...)
	// Each file a frame of its own: cut between two, nothing but the missing end tells.
	var frames []byte
	plain := tarOf(t, files...)
	for len(plain) > 0 {
		n := min(512, len(plain))
		frames, plain = append(frames, zstdOf(t, plain[:n])...), plain[n:]
	}
	all["frames.tar.zst"] = frames
	for name, b := range all {
		t.Run(name, func(t *testing.T) {
			open(t, save(t, name, b))
			for tenth := range 10 {
				mistakes(t, save(t, name, b[:len(b)*tenth/10]))
			}
			mistakes(t, save(t, name, b[:len(b)-1]))
		})
	}
	t.Run("between two frames", func(t *testing.T) {
		frame := len(zstdOf(t, tarOf(t, files...)[:512]))
		mistakes(t, save(t, "x.tar.zst", frames[:frame]))
	})
}

func TestUnknownFileIsNoBundle(t *testing.T) {
	if got := mistakes(t, save(t, "notes.txt", []byte("hello"))); !strings.Contains(got[0], ".tar.gz") {
		t.Errorf("%q", got)
	}
}

func TestLookSeesEveryChange(t *testing.T) {
	src := write(t, t.TempDir(), map[string]string{"bundle.yaml": small, "Schedules/a.osd": "x"})
	look := func() bundle.Look {
		t.Helper()
		l, err := bundle.LookAt(src)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	first := look()
	if !first.Same(look()) {
		t.Fatal("two looks at the same differ")
	}
	later := time.Now().Add(time.Hour)
	for what, change := range map[string]func() error{
		"touched":  func() error { return os.Chtimes(filepath.Join(src, "bundle.yaml"), later, later) },
		"appended": func() error { write(t, src, map[string]string{"Schedules/a.osd": "xy"}); return nil },
		"added":    func() error { write(t, src, map[string]string{"Schedules/b.osd": "x"}); return nil },
		"removed":  func() error { return os.Remove(filepath.Join(src, "Schedules/a.osd")) },
	} {
		before := look()
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if before.Same(look()) {
			t.Errorf("%s: not seen", what)
		}
	}
}

func TestPackIsTheSameBytes(t *testing.T) {
	for _, sample := range []string{"head-office", "staging-sample"} {
		t.Run(sample, func(t *testing.T) {
			src := filepath.Join(samples, sample)
			var one, two bytes.Buffer
			if err := errors.Join(bundle.Pack(src, &one), bundle.Pack(src, &two)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(one.Bytes(), two.Bytes()) {
				t.Error("packed twice, it differs")
			}
			want, got := open(t, src), open(t, save(t, sample+".tar.gz", one.Bytes()))
			for i := range want.Files {
				want.Files[i].MTime = got.Files[i].MTime // kept to the second
			}
			if d := cmp.Diff(want.Bundle, got.Bundle); d != "" {
				t.Error(d)
			}
		})
	}
	if err := bundle.Pack(t.TempDir(), io.Discard); err == nil {
		t.Error("an empty folder is packed")
	}
}

// A spoiling context changes the files at the moment at which the first of
// them is copied.
type spoiling struct {
	context.Context
	spoil func()
}

func (s spoiling) Err() error {
	s.spoil()
	return s.Context.Err()
}

func TestBundleThatChangesWhileReadIsNotTaken(t *testing.T) {
	whole := gzipOf(t, tarOf(t, file{name: "bundle.yaml", text: small}))
	for name, spoil := range map[string]func(t *testing.T, src string) func() error{
		"file written": func(t *testing.T, src string) func() error {
			write(t, src, map[string]string{"bundle.yaml": small})
			return func() error {
				return os.WriteFile(filepath.Join(src, "bundle.yaml"), []byte("bundle: other\n"), 0o644)
			}
		},
		"file added": func(t *testing.T, src string) func() error {
			write(t, src, map[string]string{"bundle.yaml": small})
			return func() error { return os.WriteFile(filepath.Join(src, "more"), nil, 0o644) }
		},
		"folder gone": func(t *testing.T, src string) func() error {
			write(t, src, map[string]string{"bundle.yaml": small})
			return func() error { return os.RemoveAll(src) }
		},
		"archive replaced": func(t *testing.T, src string) func() error {
			if err := errors.Join(os.WriteFile(src, whole, 0o644), os.WriteFile(src+".next", whole, 0o644)); err != nil {
				t.Fatal(err)
			}
			return func() error {
				if err := os.Rename(src+".next", src); !errors.Is(err, os.ErrNotExist) {
					return err
				}
				return nil // it was done already
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			src := filepath.Join(t.TempDir(), "b.tar.gz")
			do := spoil(t, src)
			b, err := bundle.OpenIn(spoiling{t.Context(), func() {
				if err := do(); err != nil {
					t.Error(err)
				}
			}}, src, t.TempDir())
			if b != nil {
				b.Close()
			}
			if !errors.Is(err, bundle.ErrChanging) {
				t.Errorf("%v, want that it is changing", err)
			}
		})
	}
}
