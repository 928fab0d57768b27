// Package archtest holds the module to its layout and its import rules.
package archtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "inventorybeacon"

// allowed lists, for each top-level folder, what of the other folders its code
// may import. Adding to it is a decision; say why in the commit.
var allowed = map[string][]string{
	"uploads":   {},
	"failover":  {"uploads/backoff"},
	"schedule":  {},
	"policy":    {"failover", "schedule", "uploads/durablefile"},
	"beacon":    {"policy", "uploads", "failover", "schedule"},
	"agentside": {"policy", "uploads", "failover", "schedule"},
	"cmd":       {"policy", "uploads", "failover", "schedule", "beacon", "agentside", "testdata"},
	"testdata":  {},
}

// pure are the packages that may not touch the network, so that their tests
// need none; adapters sit one level down.
var pure = []string{"policy", "uploads", "failover", "schedule"}

type pkg struct {
	path    string // below the module
	imports []string
}

func list(t *testing.T, format string, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-f", format}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func packages(t *testing.T) (pkgs []pkg) {
	for _, line := range list(t, `{{.ImportPath}} {{join .Imports " "}}`, module+"/...") {
		words := strings.Fields(line)
		pkgs = append(pkgs, pkg{strings.TrimPrefix(words[0], module+"/"), words[1:]})
	}
	return pkgs
}

func TestImportsPointOneWay(t *testing.T) {
	for _, p := range packages(t) {
		for _, problem := range problems(p) {
			t.Error(problem)
		}
	}
}

// The rules above catch what they are there to catch, and let pass what is fine.
func TestRulesCatchViolations(t *testing.T) {
	for _, tt := range []struct {
		pkg pkg
		bad bool
	}{
		{pkg{"beacon", []string{module + "/agentside"}}, true},
		{pkg{"agentside/inventory", []string{module + "/beacon/config"}}, true},
		{pkg{"uploads/spool", []string{module + "/policy"}}, true},
		{pkg{"policy/revision", []string{module + "/uploads"}}, true},
		{pkg{"schedule", []string{"net/http"}}, true},
		{pkg{"uploads", []string{"net"}}, true},
		{pkg{"policy/revision", []string{module + "/uploads/durablefile"}}, false},
		{pkg{"uploads/parent", []string{"net/http", module + "/uploads"}}, false},
		{pkg{"policy", []string{"net/netip"}}, false},
		{pkg{"cmd/beacon", []string{module + "/beacon"}}, false},
	} {
		if got := problems(tt.pkg); (len(got) > 0) != tt.bad {
			t.Errorf("%v: %q, want problems: %v", tt.pkg, got, tt.bad)
		}
	}
}

func problems(p pkg) (out []string) {
	top, _, _ := strings.Cut(p.path, "/")
	for _, imp := range p.imports {
		dep, ours := strings.CutPrefix(imp, module+"/")
		switch {
		case !ours && slices.Contains(pure, p.path) && (imp == "net" || strings.HasPrefix(imp, "net/http")):
			out = append(out, p.path+" imports "+imp)
		case ours && !below(dep, top) && !slices.ContainsFunc(allowed[top], func(a string) bool { return below(dep, a) }):
			out = append(out, p.path+" imports "+dep)
		}
	}
	return out
}

func below(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

func TestSQLiteStaysInTheCatalogue(t *testing.T) {
	for _, p := range packages(t) {
		for _, imp := range p.imports {
			if strings.HasPrefix(imp, "modernc.org/sqlite") && p.path != "uploads/catalogue" {
				t.Errorf("%s imports %s", p.path, imp)
			}
		}
	}
	deps := list(t, `{{join .Deps "\n"}}`, module+"/cmd/beacon-agent")
	for _, heavy := range []string{"modernc.org/sqlite", "html/template", "github.com/prometheus/client_golang/prometheus"} {
		if slices.Contains(deps, heavy) {
			t.Errorf("the agent links %s", heavy)
		}
	}
	if !slices.Contains(deps, "net/http") {
		t.Error("the agent does not link net/http: is this list what it says it is?")
	}
}

// topLevel is the whole of the top level; nothing else belongs there.
var topLevel = []string{
	"cmd", "beacon", "policy", "uploads", "failover", "schedule", "agentside", "testdata",
	"docs", ".ci", ".git", ".gitignore", "go.mod", "go.sum", "README.md", "CHANGELOG.md", "Makefile",
}

func TestTopLevelIsFixed(t *testing.T) {
	out, err := exec.Command("git", "-C", root(t), "ls-files").Output()
	if err != nil {
		t.Skipf("skipped: git cannot list the tree's files: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		if top, _, _ := strings.Cut(strings.TrimSpace(line), "/"); !slices.Contains(topLevel, top) {
			t.Errorf("%s is not one of the top-level entries", top)
		}
	}
}

// Every package says in one place what it is about.
func TestPackagesHaveComments(t *testing.T) {
	for _, line := range list(t, `{{.ImportPath}}	{{.Doc}}`, module+"/...") {
		path, doc, _ := strings.Cut(line, "\t")
		if strings.TrimSpace(doc) == "" && !testOnly(t, path) {
			t.Errorf("%s has no package comment", path)
		}
	}
}

func testOnly(t *testing.T, path string) bool {
	return strings.TrimSpace(list(t, `{{len .GoFiles}}`, path)[0]) == "0"
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
