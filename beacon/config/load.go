package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A Mistake is one thing that is wrong, and where.
type Mistake struct {
	Source string `json:"source"`        // a file, "environment" or "flags or environment"
	Line   int    `json:"line,omitzero"` // 0 where there are no lines
	Key    string `json:"key,omitzero"`  // dotted; empty if the text itself is broken
	Text   string `json:"message"`
	unread bool   // the value there did not become part of the configuration
}

// String returns source:line: key: text.
func (m Mistake) String() string {
	s := m.Source
	if m.Line > 0 {
		s += ":" + strconv.Itoa(m.Line)
	}
	if m.Key != "" {
		s += ": " + m.Key
	}
	return s + ": " + m.Text
}

// Mistakes are all that is wrong with a configuration.
type Mistakes []Mistake

// Error returns one mistake a line.
func (ms Mistakes) Error() string {
	lines := make([]string, len(ms))
	for i, m := range ms {
		lines[i] = m.String()
	}
	return strings.Join(lines, "\n")
}

// Sources are where a configuration comes from, from the weakest to the
// strongest.
type Sources struct {
	File    string   // a YAML file; empty for none
	Environ []string // as [os.Environ] gives it
	Flags   Flags
}

// Flags are what the command line may say; a nil or empty field says nothing.
type Flags struct {
	Data      string
	Listen    []string
	ListenTLS []string
	Admin     string
	Metrics   string
	Name      string
}

// Load merges the sources over [Default] and checks the result. The error is
// [Mistakes] unless a file could not be read. The strings it returns name
// BEACON_… variables that mean nothing, which is worth a warning and no more,
// since container platforms set some of their own.
func Load(src Sources) (*Config, []string, error) {
	c := Default()
	var doc yaml.Node
	var found Mistakes
	if src.File != "" {
		b, err := os.ReadFile(src.File)
		if err != nil {
			return nil, nil, fmt.Errorf("read configuration: %w", err)
		}
		found = c.decode(b, src.File, &doc)
	}
	unknown, ms := c.environment(src.Environ)
	found = append(found, ms...)
	c.flags(src.Flags)
	c.complete()
	found = append(found, c.judge(src.File, &doc, found)...)
	if len(found) > 0 {
		slices.SortStableFunc(found, func(a, b Mistake) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key)) })
		return nil, unknown, found
	}
	return c, unknown, nil
}

// judge checks the values and says where they are. What could not be read is
// not reported a second time, as missing.
func (c *Config) judge(file string, doc *yaml.Node, found Mistakes) (ms Mistakes) {
	for _, m := range c.check() {
		m.Source, m.Line = place(file, doc, m.Key)
		if !slices.ContainsFunc(found, func(f Mistake) bool { return f.unread && f.Line > 0 && f.Line == m.Line }) {
			ms = append(ms, m)
		}
	}
	return ms
}

// decode overlays a YAML document, as far as it can be read.
func (c *Config) decode(b []byte, file string, doc *yaml.Node) Mistakes {
	if err := yaml.Unmarshal(b, doc); err != nil {
		return parseErrors(file, err)
	}
	if lookup(doc, "listeners") != nil {
		c.Listeners = nil // a list replaces, it does not merge
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	var ms Mistakes
	if err := d.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		ms = parseErrors(file, err)
	}
	var more yaml.Node
	if d.Decode(&more) == nil {
		ms = append(ms, Mistake{Source: file, Line: more.Line, Text: "a second document; a configuration is one"})
	}
	return ms
}

var (
	lineRE    = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)
	unknownRE = regexp.MustCompile(`^field (\S+) not found in type \S+$`)
	typeRE    = regexp.MustCompile(`^cannot unmarshal !!(\S+) (.*)into (\S+)$`)
)

func parseErrors(file string, err error) Mistakes {
	texts := []string{err.Error()}
	if te, ok := errors.AsType[*yaml.TypeError](err); ok {
		texts = te.Errors
	}
	var ms Mistakes
	for _, t := range texts {
		m := Mistake{Source: file, Text: strings.TrimPrefix(t, "yaml: ")}
		if g := lineRE.FindStringSubmatch(t); g != nil {
			m.Line, _ = strconv.Atoi(g[1])
			m.Text = plain(g[2])
			m.unread = !unknownRE.MatchString(g[2])
		}
		ms = append(ms, m)
	}
	return ms
}

// plain puts the decoder's words into an administrator's.
func plain(text string) string {
	if g := unknownRE.FindStringSubmatch(text); g != nil {
		return fmt.Sprintf("unknown key %q", g[1])
	}
	if g := typeRE.FindStringSubmatch(text); g != nil {
		found := cmp.Or(strings.TrimSpace(g[2]), map[string]string{"seq": "a list", "map": "a group of keys"}[g[1]], "nothing")
		return fmt.Sprintf("%s was found where %s is wanted", found, wanted(g[3]))
	}
	return text
}

// wanted names a type as an administrator knows it.
func wanted(goType string) string {
	switch {
	case goType == "time.Duration":
		return "a duration such as 30s"
	case goType == "bool":
		return "true or false"
	case goType == "string":
		return "a string"
	case strings.HasPrefix(goType, "int"):
		return "a number"
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	}
	return "a group of keys"
}

// place finds the line of a key. A value that is not in the file comes from a
// stronger source, since the defaults are without mistake.
func place(file string, doc *yaml.Node, key string) (string, int) {
	for k := key; k != ""; k = parentKey(k) {
		if n := lookup(doc, k); n != nil {
			return file, n.Line
		}
	}
	return "flags or environment", 0
}

func parentKey(key string) string {
	if i := strings.LastIndexAny(key, ".["); i >= 0 {
		return key[:i]
	}
	return ""
}

// lookup walks to "a.b[2].c"; nil if the document does not go there.
func lookup(n *yaml.Node, key string) *yaml.Node {
	if n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	for part := range strings.FieldsFuncSeq(key, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		if n = child(n, part); n == nil {
			return nil
		}
	}
	return n
}

func child(n *yaml.Node, part string) *yaml.Node {
	if n.Kind == yaml.SequenceNode {
		i, err := strconv.Atoi(part)
		if err != nil || i >= len(n.Content) {
			return nil
		}
		return n.Content[i]
	}
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == part {
			return n.Content[i+1]
		}
	}
	return nil
}
