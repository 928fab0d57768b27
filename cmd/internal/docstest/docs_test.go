// Package docstest holds the documents to what the programs have: a metric, a
// configuration key or a command that administrators are not told of is a
// failure, and so is one that they are told of and that is not there.
package docstest

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"inventorybeacon/beacon/config"
)

const root = "../../.."

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func operations(t *testing.T) string { return read(t, "docs/OPERATIONS.md") }

// untold returns the names that text does not have as code.
func untold(text string, names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return strings.Contains(text, "`"+n+"`") })
}

var metric = regexp.MustCompile(`"(beacon_[a-z_]+)"`)

// metrics returns the names that the beacon's code gives to metrics.
func metrics(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "beacon", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range metric.FindAllStringSubmatch(string(b), -1) {
			names = append(names, m[1])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func TestOperationsListsEveryMetric(t *testing.T) {
	names := metrics(t)
	if len(names) < 20 {
		t.Fatalf("found %d metrics: has their code moved?", len(names))
	}
	for _, n := range untold(operations(t), names) {
		t.Errorf("docs/OPERATIONS.md does not list the metric %s", n)
	}
}

func TestOperationsListsNoOtherMetric(t *testing.T) {
	names := metrics(t)
	for _, row := range regexp.MustCompile("(?m)^\\| `(beacon_[a-z_]+)` \\|").FindAllStringSubmatch(operations(t), -1) {
		if !slices.Contains(names, row[1]) {
			t.Errorf("docs/OPERATIONS.md lists %s, which the beacon does not have", row[1])
		}
	}
}

// keys returns every key that has a value of its own, as an administrator
// names it: listeners[].tls.key, kinds.<folder>.max.
func keys(t reflect.Type, at string) (out []string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct && t.Elem() != reflect.TypeFor[config.Prefix]():
		return keys(t.Elem(), at+"[]")
	case t.Kind() == reflect.Map:
		return keys(t.Elem(), at+".<folder>")
	case t.Kind() != reflect.Struct || t.NumField() == 0 || t.Field(0).Tag.Get("yaml") == "":
		return []string{at}
	}
	for f := range t.Fields() {
		out = append(out, keys(f.Type, strings.TrimPrefix(at+"."+f.Tag.Get("yaml"), "."))...)
	}
	return out
}

func TestOperationsListsEveryKey(t *testing.T) {
	names := keys(reflect.TypeFor[config.Config](), "")
	if len(names) < 30 {
		t.Fatalf("found %d keys: %v", len(names), names)
	}
	for _, n := range untold(operations(t), names) {
		t.Errorf("docs/OPERATIONS.md does not list the key %s", n)
	}
}

func TestExampleShowsEveryKey(t *testing.T) {
	example := read(t, "docs/beacon.example.yaml")
	for _, n := range keys(reflect.TypeFor[config.Config](), "") {
		n = strings.TrimSuffix(n, ".<folder>") // whose values are scalars
		last := n[strings.LastIndex(n, ".")+1:]
		if !regexp.MustCompile(`(?m)^\s*(- )?`+regexp.QuoteMeta(last)+`:`).MatchString(example) && !strings.Contains(example, "{"+last+":") {
			t.Errorf("docs/beacon.example.yaml does not show %s", n)
		}
	}
}

func TestExampleIsValid(t *testing.T) {
	if _, _, err := config.Load(config.Sources{File: filepath.Join(root, "docs/beacon.example.yaml")}); err != nil {
		t.Error(err)
	}
}

// What is looked for must be able to be missed.
func TestUntoldIsFound(t *testing.T) {
	text := operations(t)
	for _, n := range []string{"beacon_ready", "limits.idle", "kinds.<folder>.max", "relay[].s3.ca", "beacon policy withdraw NAME [-m WHY]"} {
		if left := untold(text, []string{n}); len(left) > 0 {
			t.Errorf("%s counts as untold", n)
		}
		if left := untold(strings.ReplaceAll(text, n, ""), []string{n}); len(left) != 1 {
			t.Errorf("%s is not missed where it is missing", n)
		}
	}
}
