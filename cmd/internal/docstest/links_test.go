package docstest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	dropped = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors returns what links to the headings of a document may say.
func anchors(text string) (out []string) {
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		out = append(out, strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return out
}

// broken returns the links of the document at name that lead nowhere; open
// reads a file that a link names.
func broken(name, text string, open func(string) (string, error)) (out []string) {
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		to, anchor, hasAnchor := strings.Cut(m[1], "#")
		if strings.Contains(to, "://") {
			continue
		}
		target := text
		if to != "" {
			var err error
			if target, err = open(filepath.Join(filepath.Dir(name), to)); err != nil {
				out = append(out, m[1])
				continue
			}
		}
		if hasAnchor && !slices.Contains(anchors(target), anchor) {
			out = append(out, m[1])
		}
	}
	return out
}

func open(name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(root, name))
	return string(b), err
}

func TestLinksLeadSomewhere(t *testing.T) {
	docs, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(docs) < 5 {
		t.Fatalf("found %d documents: %v", len(docs), err)
	}
	names := []string{"README.md", "CHANGELOG.md"}
	for _, d := range docs {
		names = append(names, filepath.Join("docs", filepath.Base(d)))
	}
	for _, name := range names {
		for _, l := range broken(name, read(t, name), open) {
			t.Errorf("%s: the link %s leads nowhere", name, l)
		}
	}
}

func TestBrokenLinkIsFound(t *testing.T) {
	text := "# A title: of `PUT /x`\n[good](#a-title-of-put-x) [bad](#other) [file](docs/FORMATS.md#spool) [none](docs/NONE.md) [web](https://example.com)"
	if got := broken("README.md", text, open); !slices.Equal(got, []string{"#other", "docs/NONE.md"}) {
		t.Errorf("broken = %v", got)
	}
}
