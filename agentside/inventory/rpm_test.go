package inventory

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRPMParsesItsFormat(t *testing.T) {
	const answer = "bash\t5.2.15-3.fc39\tx86_64\t1700000000\t8295742\tFedora Project\n" +
		"dbus\t1:1.14.10-1.fc39\tx86_64\t1700000001\t0\tA\tvendor with a tab\n" +
		"gpg-pubkey\tabc-def\t(none)\t1700000002\t0\t(none)\n"
	want := []Package{
		{Name: "bash", Version: "5.2.15-3.fc39", Architecture: "x86_64", Installed: "20231114T221320", Size: "8295742", Vendor: "Fedora Project", Evidence: "rpm database"},
		{Name: "dbus", Version: "1:1.14.10-1.fc39", Architecture: "x86_64", Installed: "20231114T221321", Size: "0", Vendor: "A\tvendor with a tab", Evidence: "rpm database"},
		{Name: "gpg-pubkey", Version: "abc-def", Installed: "20231114T221322", Size: "0", Evidence: "rpm database"},
	}
	got, err := parseRPM(strings.NewReader(answer))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, %s", err, diff)
	}
	for _, bad := range []string{"what\n", "\t\t\t\t\t\n", "\n", strings.Repeat("x", maxRPMLine+1)} {
		if got, err := parseRPM(strings.NewReader(answer + bad)); err == nil || len(got) != 3 {
			t.Errorf("behind three lines, %.10q: %d packages and %v", bad, len(got), err)
		}
	}
}

func FuzzRPM(f *testing.F) {
	f.Add("bash\t5.2\tx86_64\t1700000000\t1\tv\n")
	f.Add("a\t\t(none)\t-1\t\t\n\t\n")
	f.Fuzz(func(t *testing.T, s string) {
		pkgs, _ := parseRPM(strings.NewReader(s)) // any error is fine, a panic is not
		for _, p := range pkgs {
			if p.Name == "" || strings.ContainsAny(p.Name, "\t\n") {
				t.Errorf("a package is called %q", p.Name)
			}
		}
	})
}

// fakeRPM is a machine with an rpm database and a command of our own.
func fakeRPM(t *testing.T, script string) Host {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell: the rpm command is a script here")
	}
	root := t.TempDir()
	place(t, root, "/var/lib/rpm/rpmdb.sqlite", "")
	h := newHost(root, Identity{})
	h.rpm = []string{filepath.Join(root, "no-rpm-here"), filepath.Join(root, "rpm")}
	if script != "" {
		if err := os.WriteFile(h.rpm[1], []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func TestRPMCommandIsAskedSafely(t *testing.T) {
	const line = `printf 'bash\t5\tx86_64\t1\t2\tv\n'` + "\n"
	t.Setenv("HOME", "/home/of/another")
	for _, c := range []struct {
		name, script string
		packages     int
		want         string // in the error
	}{
		{"answers", line, 1, ""},
		{"warns", line + "echo warning: old header >&2\n", 1, ""},
		{"finds nothing", "exit 0", 0, ""},
		{"fails half-way", line + "echo error: cannot open Packages >&2; exit 1\n", 1, "cannot open Packages"},
		{"prints rubbish", line + "echo rubbish\n", 1, "line 2"},
		{"is not there", "", 0, "no rpm command"},
		{"gets its arguments and surroundings", `[ "$1 $3 $4" = "--dbpath -qa --qf" ] && [ -f "$2/rpmdb.sqlite" ] && [ $# = 5 ] && [ "$LC_ALL" = C ] && [ "$HOME" = /nonexistent ] || exit 3` + "\n" + line, 1, ""},
		{"talks without end", "yes error | head -c 1000000 >&2; exit 1", 0, "exit status 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := collectRPM(t.Context(), fakeRPM(t, c.script))
			if len(f.Packages) != c.packages {
				t.Errorf("%d packages, want %d", len(f.Packages), c.packages)
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && len(err.Error()) > maxRPMStderr+200 {
				t.Errorf("the error is %d bytes long", len(err.Error()))
			}
		})
	}
}

func TestRPMCommandThatHangsIsLeft(t *testing.T) {
	for name, script := range map[string]string{
		"itself":                       "exec sleep 60\n",
		"in a child that keeps a pipe": "sleep 60 &\n",
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			start := time.Now()
			if _, err := collectRPM(ctx, fakeRPM(t, script)); err == nil || time.Since(start) > 30*time.Second {
				t.Errorf("got %v after %v", err, time.Since(start))
			}
		})
	}
}

func TestRPMIsAbsentWithoutADatabase(t *testing.T) {
	c := &Collector{Section: "packages.rpm", Collect: collectRPM}
	o := options(c)
	o.Root = t.TempDir()
	d, err := Collect(t.Context(), o)
	if err != nil || d.Sections[0].Status != StatusAbsent {
		t.Errorf("got %+v, %v", d, err)
	}
}

const rpmSpec = `Name: beacon-example
Epoch: 3
Version: 1.4
Release: 2
Summary: Nothing
License: none
Vendor: Exämple & Söhne
BuildArch: noarch
%description
Nothing.
%files
`

func TestRPMReadsARealDatabase(t *testing.T) {
	for _, tool := range []string{"/usr/bin/rpm", "/usr/bin/rpmbuild"} {
		if _, err := os.Stat(tool); err != nil {
			t.Skipf("needs %s (Debian: rpm)", tool)
		}
	}
	dir := t.TempDir()
	run := func(name string, arg ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, arg...)
		cmd.Env = append(os.Environ(), "HOME="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, arg, err, out)
		}
	}
	root := filepath.Join(dir, "root")
	db := filepath.Join(root, "var", "lib", "rpm")
	place(t, dir, "x.spec", rpmSpec)
	run("/usr/bin/rpmbuild", "-bb", "--define", "_topdir "+dir, filepath.Join(dir, "x.spec"))
	run("/usr/bin/rpm", "--dbpath", db, "--initdb")

	collect := func() []Package {
		t.Helper()
		f, err := collectRPM(t.Context(), newHost(root, Identity{}))
		if err != nil {
			t.Fatal(err)
		}
		return f.Packages
	}
	if got := collect(); len(got) != 0 {
		t.Errorf("an empty database holds %+v", got)
	}
	run("/usr/bin/rpm", "--dbpath", db, "-i", "--justdb", "--nodeps", filepath.Join(dir, "RPMS", "noarch", "beacon-example-1.4-2.noarch.rpm"))
	got := collect()
	if len(got) != 1 || got[0].Installed == "" {
		t.Fatalf("got %+v", got)
	}
	want := Package{
		Name: "beacon-example", Version: "3:1.4-2", Architecture: "noarch", Vendor: "Exämple & Söhne",
		Size: "0", Installed: got[0].Installed, Evidence: "rpm database",
	}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Error(diff)
	}
}
