package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"inventorybeacon/policy"

	"go.yaml.in/yaml/v3"
)

// maxManifest bounds bundle.yaml.
const maxManifest = 4 << 20

// readManifest reads bundle.yaml into b and returns every mistake in it.
func (b *Bundle) readManifest() Mistakes {
	r := &manifest{to: b}
	text, err := b.manifestText()
	if err != nil {
		r.add(ManifestName, 0, "%v", err)
		return r.Mistakes
	}
	if doc := r.parse(text); doc != nil {
		r.top(doc)
	}
	return r.Mistakes
}

func (b *Bundle) manifestText() ([]byte, error) {
	f, err := b.root.Open(path.Join(b.sub, ManifestName))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err == nil && len(text) > maxManifest {
		err = fmt.Errorf("it is larger than %d MiB", maxManifest>>20)
	}
	if pathErr := (*os.PathError)(nil); errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return text, err
}

// A manifest is bundle.yaml being read.
type manifest struct {
	Mistakes
	to *Bundle
}

func (r *manifest) wrong(n *yaml.Node, format string, args ...any) {
	r.add(ManifestName, n.Line, format, args...)
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// parse returns the one document in text, nil if there is none.
func (r *manifest) parse(text []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		line := notUTF8(text)
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil && m[1] != "" {
			line, _ = strconv.Atoi(m[1])
		}
		what := yamlLine.ReplaceAllString(err.Error(), "")
		if errors.Is(err, io.EOF) {
			what = "it is empty"
		}
		r.add(ManifestName, line, "%s", what)
		return nil
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		r.wrong(&more, "a second document: one bundle is one document")
	}
	return doc.Content[0]
}

// notUTF8 returns the first line that is not UTF-8, 0 if all are.
func notUTF8(text []byte) int {
	n := 0
	for line := range bytes.Lines(text) {
		if n++; !utf8.Valid(line) {
			return n
		}
	}
	return 0
}

// fields calls the function of each key of the mapping n. An unknown key, one
// that is there twice, and a mapping that is none are mistakes.
func (r *manifest) fields(n *yaml.Node, what string, known map[string]func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.wrong(n, "%s must be a list of names and values", what)
		return
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		do, ok := known[key.Value]
		switch {
		case !ok:
			r.wrong(key, "%s has no %q; it may have %s", what, key.Value, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		case lines[key.Value] > 0:
			r.wrong(key, "%q is there already, in line %d", key.Value, lines[key.Value])
		case value.Kind == yaml.AliasNode:
			r.wrong(value, "%q: aliases are not taken", key.Value)
		default:
			do(key, value)
		}
		lines[key.Value] = key.Line
	}
}

func (r *manifest) top(n *yaml.Node) {
	b := r.to
	b.Priority = policy.DefaultPriority
	r.fields(n, "a bundle", map[string]func(k, v *yaml.Node){
		"bundle":     func(_, v *yaml.Node) { r.name(v) },
		"applies_to": func(_, v *yaml.Node) { r.appliesTo(v) },
		"priority":   func(_, v *yaml.Node) { r.number(v, "priority", &b.Priority) },
		"schedule":   func(_, v *yaml.Node) { r.schedule(v) },
		"settings":   func(_, v *yaml.Node) { r.settings(v) },
		"failover":   func(_, v *yaml.Node) { r.failover(v) },
		"upgrade":    func(k, _ *yaml.Node) { r.notYet(k, "it is refused rather than ignored") },
		"rollout":    func(k, _ *yaml.Node) { r.notYet(k, "ignoring it would publish to every device at once") },
	})
	if n.Kind == yaml.MappingNode && value(n, "bundle") == nil {
		r.wrong(n, "bundle: the name is missing")
	}
}

// value returns what the mapping n has under key, nil if it has no such key.
func value(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func (r *manifest) notYet(key *yaml.Node, why string) {
	r.wrong(key, "this version does not know %q; %s", key.Value, why)
}

func (r *manifest) name(v *yaml.Node) {
	if r.text(v, "bundle", &r.to.Name) && !policy.ValidName(r.to.Name) {
		r.wrong(v, "bundle: %q cannot be a name: use letters, digits and . _ - or spaces between, at most 100", r.to.Name)
	}
}

func (r *manifest) appliesTo(v *yaml.Node) {
	a := &r.to.AppliesTo
	list := func(to *[]string, check func(string) string) func(k, v *yaml.Node) {
		return func(k, v *yaml.Node) { r.list(v, k.Value, to, check) }
	}
	r.fields(v, "applies_to", map[string]func(k, v *yaml.Node){
		"devices":   list(&a.Devices, badPattern),
		"domains":   list(&a.Domains, nil),
		"groups":    list(&a.Groups, nil),
		"platforms": list(&a.Platforms, badPlatform),
		"addresses": list(&a.Addresses, badNetwork),
		"tags":      list(&a.Tags, nil),
	})
}

func badPattern(s string) string {
	if _, err := path.Match(s, ""); err != nil {
		return fmt.Sprintf("%q is not a shell pattern: a [ is not closed, or a \\ stands at the end", s)
	}
	return ""
}

func badPlatform(s string) string {
	os, arch, both := strings.Cut(strings.ToLower(s), "/")
	if !slices.Contains([]string{"linux", "windows", "darwin"}, os) || both && (arch == "" || strings.Contains(arch, "/")) {
		return fmt.Sprintf("%q is not linux, windows or darwin, nor one of them with a processor, such as linux/amd64", s)
	}
	return ""
}

func badNetwork(s string) string {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return fmt.Sprintf("%q is not a network such as 10.1.0.0/16", s)
	case p != p.Masked():
		return fmt.Sprintf("%q has bits set behind its prefix: did you mean %s?", s, p.Masked())
	}
	return ""
}

func (r *manifest) settings(v *yaml.Node) {
	r.to.Settings = policy.Settings{}
	r.pairs(v, "settings", func(section, values *yaml.Node) {
		to := map[string]string{}
		r.to.Settings[section.Value] = to
		r.pairs(values, "settings: "+section.Value, func(name, value *yaml.Node) {
			var s string
			r.text(value, section.Value+": "+name.Value, &s)
			to[name.Value] = s
		})
	})
}

// pairs is fields for names that the administrator chooses. They compare
// without regard to case.
func (r *manifest) pairs(n *yaml.Node, what string, do func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.wrong(n, "%s must be a list of names and values", what)
		return
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		folded := strings.ToLower(key.Value)
		switch {
		case key.Kind != yaml.ScalarNode || strings.TrimSpace(key.Value) == "":
			r.wrong(key, "%s: a name is missing", what)
		case lines[folded] > 0:
			r.wrong(key, "%s: %q is there already, in line %d", what, key.Value, lines[folded])
		default:
			do(key, value)
		}
		lines[folded] = key.Line
	}
}

// text reads a scalar as it is written: 1.10 stays 1.10. It reports whether
// there was one.
func (r *manifest) text(v *yaml.Node, what string, to *string) bool {
	switch {
	case v.Kind != yaml.ScalarNode:
		r.wrong(v, "%s must be one value", what)
		return false
	case v.Tag == "!!null":
		*to = ""
	case strings.ContainsFunc(v.Value, func(c rune) bool { return c < 0x20 && c != '\t' && c != '\n' || c == 0xFFFE || c == 0xFFFF }):
		r.wrong(v, "%s holds a control character", what)
		return false
	default:
		*to = v.Value
	}
	return true
}

func (r *manifest) number(v *yaml.Node, what string, to *int) {
	n, err := strconv.Atoi(v.Value)
	if v.Kind != yaml.ScalarNode || err != nil || n < 0 || n > 1_000_000 {
		r.wrong(v, "%s must be a number from 0 to 1000000", what)
		return
	}
	*to = n
}

func (r *manifest) flag(v *yaml.Node, what string, to *bool) {
	if v.Kind != yaml.ScalarNode || v.Tag != "!!bool" || v.Decode(to) != nil {
		r.wrong(v, "%s must be true or false", what)
	}
}

func (r *manifest) list(v *yaml.Node, what string, to *[]string, check func(string) string) {
	if v.Kind != yaml.SequenceNode {
		r.wrong(v, "%s must be a list, such as [a, b]", what)
		return
	}
	for _, item := range v.Content {
		var s string
		switch {
		case !r.text(item, what, &s):
		case s == "":
			r.wrong(item, "%s: an entry is empty", what)
		case check != nil && check(s) != "":
			r.wrong(item, "%s: %s", what, check(s))
		default:
			*to = append(*to, s)
		}
	}
}
