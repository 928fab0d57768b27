package inventory

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func readDpkg(s string) ([]Package, error) {
	db := dpkgDatabase{packages: map[dpkgKey]Package{}}
	err := db.read(strings.NewReader(s))
	sec := Section{Findings: db.findings()}
	sec.sort()
	return sec.Packages, err
}

func TestDpkgReadsParagraphs(t *testing.T) {
	long := strings.Repeat("x", 3*maxStatusLine)
	for _, c := range []struct{ name, status, want string }{
		{"one", "Package: a\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n", "a all 1 "},
		{"no last line end", "Package: a\nStatus: install ok installed", "a   "},
		{"no Status", "Package: a\nVersion: 2\n", "a  2 "},
		{"architecture in the name", "Package: a:amd64\nArchitecture: amd64\n", "a amd64  "},
		{"fields in any case, spaces, line ends", "PACKAGE:a\r\n\r\n \nversion: 3\r\npackage: \t b \r\n", "a   |b  3 "},
		{"two architectures", "Package: a\nArchitecture: i386\n\nPackage: a\nArchitecture: amd64\n", "a amd64  |a i386  "},
		{"a later word counts", "Package: a\nVersion: 1\n\nPackage: a\nVersion: 2\n", "a  2 "},
		{"removed later", "Package: a\n\nPackage: a\nStatus: purge ok not-installed\n", ""},
		{"held", "Package: a\nStatus: hold ok installed\n", "a   hold"},
		{"unpacked", "Package: a\nStatus: install ok unpacked\n", "a   unpacked"},
		{"held and waiting", "Package: a\nStatus: hold ok triggers-awaited\n", "a   hold triggers-awaited"},
		{"marked for removal", "Package: a\nStatus: deinstall ok installed\n", "a   "},
		{"continuation", "Package: a\nDescription: x\n Package: b\n .\n\tVersion: 9\nVersion: 1\n", "a  1 "},
		{"a comment", "#Package: b\nPackage: a\n", "a   "},
		{"a long line", "Package: a\nDepends: " + long + "\nVersion: 1\n\nPackage: b\n", "a  1 |b   "},
		{"config files only", "Package: a\nStatus: deinstall ok config-files\n", ""},
		{"blank lines", "\n\n\nPackage: a\n\n\n\n", "a   "},
		{"nothing", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			pkgs, err := readDpkg(c.status)
			var got []string
			for _, p := range pkgs {
				got = append(got, strings.Join([]string{p.Name, p.Architecture, p.Version, p.State}, " "))
			}
			if s := strings.Join(got, "|"); s != c.want || err != nil {
				t.Errorf("got %q, %v; want %q", s, err, c.want)
			}
		})
	}
}

func TestDpkgReadsOnBehindDamage(t *testing.T) {
	for _, damage := range []string{"Version: 1\n", "Package: x\nStatus: what\n", "Package:\n"} {
		pkgs, err := readDpkg("Package: a\n\n" + damage + "\nPackage: b\n")
		if err == nil || !strings.Contains(err.Error(), "line") || len(pkgs) != 2 {
			t.Errorf("%q between two packages: %d packages, %v", damage, len(pkgs), err)
		}
	}
}

func TestDpkgReadsEveryPlace(t *testing.T) {
	root := t.TempDir()
	place(t, root, dpkgStatusDir+"/base", "Package: base-files\nVersion: 12\n")
	place(t, root, dpkgStatusDir+"/base.md5sums", "0123  etc/os-release\n")
	place(t, root, dpkgUpdates+"/0000", "Package: base-files\nVersion: 13\n")
	place(t, root, dpkgUpdates+"/tmp.i", "Package: half-written\n")
	f, err := collectDpkg(t.Context(), newHost(root, Identity{}))
	want := []Package{{Name: "base-files", Version: "13", Evidence: "dpkg database"}}
	if diff := cmp.Diff(want, f.Packages); diff != "" || err != nil {
		t.Errorf("%v, %s", err, diff)
	}
}

func TestDpkgStopsWithItsContext(t *testing.T) {
	root := t.TempDir()
	place(t, root, dpkgStatus, "Package: a\n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := collectDpkg(ctx, newHost(root, Identity{})); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func FuzzDpkg(f *testing.F) {
	status, err := os.ReadFile(fixtures + "/debian12/var/lib/dpkg/status")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(status)
	f.Add([]byte("Package: a:b\nStatus: hold ok half-configured\n\n:\n \n#"))
	f.Fuzz(func(t *testing.T, b []byte) {
		db := dpkgDatabase{packages: map[dpkgKey]Package{}}
		_ = db.read(bytes.NewReader(b)) // any error is fine, a panic is not
		for _, p := range db.packages {
			if p.Name == "" || strings.ContainsAny(p.Name, ":\n") {
				t.Errorf("a package is called %q", p.Name)
			}
		}
	})
}

// dpkgQuery asks dpkg itself for what is installed on this machine.
func dpkgQuery(t *testing.T) []string {
	t.Helper()
	path, err := exec.LookPath("dpkg-query")
	if err != nil {
		t.Skip("needs dpkg-query (a Debian machine)")
	}
	out, err := exec.CommandContext(t.Context(), path, "-W", "-f", "${Package}\t${Version}\t${Architecture}\t${db:Status-Status}\n").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if !strings.HasSuffix(line, "\tconfig-files") && !strings.HasSuffix(line, "\tnot-installed") {
			all = append(all, line[:strings.LastIndex(line, "\t")])
		}
	}
	slices.Sort(all)
	return all
}

// thisMachine takes this machine's own inventory and the word of dpkg, at a
// moment when nothing is being installed.
func thisMachine(t *testing.T) (doc string, pkgs []Package, query []string) {
	t.Helper()
	for range 20 {
		before := dpkgQuery(t)
		o := options()
		o.Collectors = nil
		d, err := Collect(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if query = dpkgQuery(t); slices.Equal(before, query) {
			for _, s := range d.Sections {
				if s.Name == "packages.dpkg" {
					pkgs = s.Packages
				}
			}
			return roundTrip(t, d), pkgs, query
		}
	}
	t.Fatal("this machine never stops installing packages")
	return "", nil, nil
}

func TestInventoryOfThisMachineListsEveryDpkgPackage(t *testing.T) {
	doc, pkgs, query := thisMachine(t)
	var listed []string
	for _, p := range pkgs {
		listed = append(listed, p.Name+"\t"+p.Version+"\t"+p.Architecture)
	}
	slices.Sort(listed)
	if diff := cmp.Diff(query, listed); diff != "" {
		t.Errorf("differs from dpkg-query (-dpkg +inventory)\n%s", diff)
	}
	if missing := unnamed(doc, query); len(missing) > 0 || len(query) == 0 {
		t.Errorf("of %d packages these are not in the document: %q", len(query), missing)
	}
	t.Logf("%d packages in %d bytes", len(query), len(doc))
}

// The check above would notice a package that is left out, and one whose name
// is there with its architecture only.
func TestInventoryCheckNoticesAMissingPackage(t *testing.T) {
	doc, _, query := thisMachine(t)
	name, _, _ := strings.Cut(query[len(query)/2], "\t")
	for _, instead := range []string{"", `="` + name + `:amd64"`, `="x ` + name + `"`} {
		if missing := unnamed(strings.ReplaceAll(doc, `="`+name+`"`, instead), query); !slices.Contains(missing, name) {
			t.Errorf("%s replaced by %q is not noticed", name, instead)
		}
	}
}

// unnamed returns the packages whose name is no attribute's value in doc.
func unnamed(doc string, query []string) (missing []string) {
	for _, line := range query {
		if name, _, _ := strings.Cut(line, "\t"); !strings.Contains(doc, `="`+name+`"`) {
			missing = append(missing, name)
		}
	}
	return missing
}
