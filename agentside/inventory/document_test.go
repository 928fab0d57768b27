package inventory

import (
	"bytes"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite golden files")

const fixtures = "../../testdata/inventories"

func written(t *testing.T, d *Document) string {
	t.Helper()
	var b bytes.Buffer
	n, err := d.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("WriteTo returned %d, %v for %d bytes", n, err, b.Len())
	}
	return b.String()
}

// roundTrip checks that what the document says in short is what it says written.
func roundTrip(t *testing.T, d *Document) string {
	t.Helper()
	s := written(t, d)
	if diff := cmp.Diff(d.Summary(), summaryIn(t, s)); diff != "" {
		t.Errorf("the written document's summary differs (-document +written)\n%s", diff)
	}
	return s
}

func fixtureDocument(t *testing.T) *Document {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs linux: the fixture is a Linux file system")
	}
	o := options()
	o.Collectors = nil
	o.Root = filepath.Join(fixtures, "debian12")
	d, err := Collect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDocumentIsGolden(t *testing.T) {
	got := roundTrip(t, fixtureDocument(t))
	golden := filepath.Join(fixtures, "debian12.ndi")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("differs from %s (-golden +got); run with -update if that is meant\n%s", golden, diff)
	}
}

func TestDocumentIsTheSameTwice(t *testing.T) {
	first := written(t, fixtureDocument(t))
	for range 20 {
		if again := written(t, fixtureDocument(t)); again != first {
			t.Fatalf("two inventories of one machine differ\n%s", cmp.Diff(first, again))
		}
	}
}

func TestDocumentTellsMissingFailedAndEmptyApart(t *testing.T) {
	status := func(t *testing.T, setup func(root string)) SectionSummary {
		root := t.TempDir()
		setup(root)
		o := options(&Collector{Section: "packages.dpkg", Collect: collectDpkg})
		o.Root = root
		d, err := Collect(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return summaryIn(t, roundTrip(t, d)).Sections[0]
	}
	put := func(contents string) func(string) {
		return func(root string) { place(t, root, dpkgStatus, contents) }
	}
	if s := status(t, func(string) {}); s.Status != StatusAbsent {
		t.Errorf("without a database: %+v", s)
	}
	if s := status(t, put("")); s.Status != StatusOK || s.Count != 0 {
		t.Errorf("with an empty database: %+v", s)
	}
	if s := status(t, put("Version: 1\n\nPackage: a\n")); s.Status != StatusFailed || s.Count != 1 || s.Error == "" {
		t.Errorf("with a damaged database: %+v", s)
	}
	if s := status(t, put("Package: a\n")); s.Status != StatusOK || s.Count != 1 {
		t.Errorf("with a sound database: %+v", s)
	}
}

func place(t *testing.T, root, name, contents string) {
	t.Helper()
	name = filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(contents), 0o644); err != nil {
		t.Fatal(err)
	}
}

// hostile holds what a package's vendor may be on a bad day.
const hostile = "a<b>&\"c'\x00\x1b[31m\x7f\u0085\ufffe\xff\xc3 \t\r\n]]> \U0001F600"

func hostileDocument() *Document {
	d := &Document{Identity: Identity{Name: "n\x01\"", Domain: hostile, User: "system"}, Time: noon}
	d.Sections = []Section{
		{Name: "x", Status: StatusFailed, Error: hostile, Findings: Findings{
			Hardware: []Hardware{{Class: hostile, Name: hostile, Evidence: "e", Properties: []Property{{hostile, hostile}}}},
			Packages: []Package{{Name: "libc6", Vendor: hostile}},
		}},
	}
	return d
}

func TestDocumentHoldsAnyText(t *testing.T) {
	s := written(t, hostileDocument())
	sum := summaryIn(t, s)
	want := "a<b>&\"c'\ufffd\ufffd[31m\x7f\u0085\ufffd\ufffd\ufffd \t\r\n]]> \U0001F600"
	if sum.Scope != want || sum.Sections[0].Error != want {
		t.Errorf("read back %q and %q, want %q", sum.Scope, sum.Sections[0].Error, want)
	}
	for _, line := range []string{
		`MachineName="n` + "\ufffd" + `&quot;"`,                     // the root element
		`Type="Full" Replaced="6">`,                                 // five in Scope, one in MachineName
		`&#10;]]&gt; ` + "\U0001F600" + `" Replaced="5"/>`,          // a package
		`Count="2" Error="a&lt;b&gt;&amp;&quot;c'` + "\ufffd\ufffd", // a section
	} {
		if !strings.Contains(s, line) {
			t.Errorf("%q is not in\n%s", line, s)
		}
	}
	if plain := written(t, fixtureDocument(t)); strings.Contains(plain, "Replaced") {
		t.Error("a document with nothing replaced says that something was")
	}
}

func TestDocumentIsAcceptedByXmllint(t *testing.T) {
	xmllint, err := exec.LookPath("xmllint")
	if err != nil {
		t.Skip("needs xmllint (Debian: libxml2-utils)")
	}
	lint := func(s string) (string, error) {
		cmd := exec.CommandContext(t.Context(), xmllint, "--noout", "--nonet", "-")
		cmd.Stdin = strings.NewReader(s)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	good := map[string]*Document{"fixture": fixtureDocument(t), "hostile": hostileDocument()}
	for name, d := range good {
		if out, err := lint(written(t, d)); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	if _, err := lint(strings.Replace(written(t, good["fixture"]), "&lt;", "<", 1)); err == nil {
		t.Error("xmllint accepts a document with a bare <")
	}
}

func TestDocumentIsWrittenInLittleMemory(t *testing.T) {
	d := &Document{Identity: Identity{Name: "n"}, Time: noon, Sections: []Section{{Name: "p"}}}
	for range 50_000 {
		d.Sections[0].Packages = append(d.Sections[0].Packages, Package{Name: "libexample", Version: "1.2-3", Vendor: "Someone <x@example.com>"})
	}
	r := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if _, err := d.WriteTo(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
	})
	t.Logf("50,000 packages: %v, %d B in %d allocations", r.NsPerOp(), r.AllocedBytesPerOp(), r.AllocsPerOp())
	if r.AllocedBytesPerOp() > 64<<10 {
		t.Errorf("writing 50,000 packages allocates %d bytes", r.AllocedBytesPerOp())
	}
}

func TestDocumentReportsAFailedWrite(t *testing.T) {
	r, w := io.Pipe()
	r.CloseWithError(io.ErrClosedPipe)
	if _, err := fixtureDocument(t).WriteTo(w); err == nil {
		t.Error("no error from a writer that fails")
	}
}
