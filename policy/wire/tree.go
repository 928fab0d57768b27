package wire

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of a document. A larger bound lets a document cost more memory; a
// smaller one may refuse a real document (those seen have a few hundred
// elements, four deep).
const (
	MaxBytes    = 8 << 20
	maxDepth    = 64
	maxElements = 200_000
	maxAttrs    = 256 // of one element
)

// An element of a document. Names are lower-cased: writers differ in case.
type element struct {
	name     string
	attrs    []attr
	children []*element
	content  []byte // character data of the element itself
}

type attr struct{ name, value string }

// attr returns the value of the first of the names that is there.
func (e *element) attr(names ...string) string {
	for _, n := range names {
		for _, a := range e.attrs {
			if a.name == n {
				return a.value
			}
		}
	}
	return ""
}

// text returns the character data of e itself without the space around it.
func (e *element) text() string { return strings.TrimSpace(string(e.content)) }

// all calls do for e and everything below it, parents first.
func (e *element) all(do func(*element)) {
	do(e)
	for _, c := range e.children {
		c.all(do)
	}
}

// local is the name without what stands before its last colon.
func (e *element) local() string { return e.name[strings.LastIndexByte(e.name, ':')+1:] }

// parse reads a document into its root element.
func parse(b []byte) (*element, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes are more than the %d allowed", ErrSyntax, len(b), MaxBytes)
	}
	s, err := decode(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	p := parser{s: s}
	if err := p.document(); err != nil {
		return nil, fmt.Errorf("%w: line %d: %w", ErrSyntax, 1+strings.Count(s[:min(p.at, len(s))], "\n"), err)
	}
	return p.root, nil
}

// A parser reads one document. It never looks back further than the start of
// the token it is in, so it is linear in the document's length.
type parser struct {
	s        string
	at       int
	root     *element
	open     []*element
	elements int
}

func (p *parser) document() error {
	for p.at < len(p.s) {
		lt := strings.IndexByte(p.s[p.at:], '<')
		if lt < 0 {
			lt = len(p.s) - p.at
		}
		if err := p.chars(p.s[p.at : p.at+lt]); err != nil {
			return err
		}
		p.at += lt
		if p.at == len(p.s) {
			break
		}
		if err := p.markup(); err != nil {
			return err
		}
	}
	switch {
	case len(p.open) > 0:
		return fmt.Errorf("<%s> is not closed", p.open[len(p.open)-1].name)
	case p.root == nil:
		return fmt.Errorf("there is no element")
	}
	return nil
}

func (p *parser) chars(s string) error {
	if n := len(p.open); n > 0 {
		p.open[n-1].content = append(p.open[n-1].content, unescape(s)...)
		return nil
	}
	if strings.Trim(s, " \t\r\n\x00") != "" {
		return fmt.Errorf("text outside of an element")
	}
	return nil
}

// markup reads what starts with "<".
func (p *parser) markup() error {
	rest := p.s[p.at:]
	switch {
	case strings.HasPrefix(rest, "<!--"):
		return p.skip("<!--", "-->")
	case strings.HasPrefix(rest, "<![CDATA["):
		start := p.at + len("<![CDATA[")
		if err := p.skip("<![CDATA[", "]]>"); err != nil {
			return err
		}
		if n := len(p.open); n > 0 {
			p.open[n-1].content = append(p.open[n-1].content, p.s[start:p.at-len("]]>")]...)
		}
		return nil
	case strings.HasPrefix(rest, "<?"):
		return p.skip("<?", "?>")
	case strings.HasPrefix(rest, "<!"):
		return p.doctype()
	case strings.HasPrefix(rest, "</"):
		return p.end()
	}
	return p.start()
}

func (p *parser) skip(opening, closing string) error {
	i := strings.Index(p.s[p.at+len(opening):], closing)
	if i < 0 {
		return fmt.Errorf("%s without %s", opening, closing)
	}
	p.at += len(opening) + i + len(closing)
	return nil
}

// doctype skips a declaration with nothing but an external identifier, which
// is never followed.
func (p *parser) doctype() error {
	if p.root != nil {
		return fmt.Errorf("a declaration after the first element")
	}
	var quote byte
	for i := p.at; i < len(p.s); i++ {
		switch c := p.s[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '[':
			return fmt.Errorf("an internal subset is not allowed")
		case c == '>':
			p.at = i + 1
			return nil
		}
	}
	return fmt.Errorf("the declaration does not end")
}

func (p *parser) end() error {
	gt := strings.IndexByte(p.s[p.at:], '>')
	if gt < 0 {
		return fmt.Errorf("an end tag does not end")
	}
	name := strings.ToLower(strings.TrimSpace(p.s[p.at+2 : p.at+gt]))
	n := len(p.open)
	if n == 0 || p.open[n-1].name != name {
		return fmt.Errorf("</%.60s> closes nothing", name)
	}
	p.open = p.open[:n-1]
	p.at += gt + 1
	return nil
}

func (p *parser) start() error {
	p.at++
	e := &element{name: strings.ToLower(p.word())}
	if e.name == "" {
		return fmt.Errorf("an element without a name")
	}
	if err := p.add(e); err != nil {
		return err
	}
	for {
		p.space()
		switch rest := p.s[p.at:]; {
		case rest == "":
			return fmt.Errorf("<%.60s> does not end", e.name)
		case rest[0] == '>':
			p.at++
			p.open = append(p.open, e)
			return nil
		case strings.HasPrefix(rest, "/>"):
			p.at += 2
			return nil
		}
		if err := p.attr(e); err != nil {
			return err
		}
	}
}

func (p *parser) add(e *element) error {
	p.elements++
	switch n := len(p.open); {
	case p.elements > maxElements:
		return fmt.Errorf("more than %d elements", maxElements)
	case n >= maxDepth:
		return fmt.Errorf("elements nested more than %d deep", maxDepth)
	case n > 0:
		parent := p.open[n-1]
		parent.children = append(parent.children, e)
	case p.root != nil:
		return fmt.Errorf("a second root element")
	default:
		p.root = e
	}
	return nil
}

func (p *parser) attr(e *element) error {
	name := strings.ToLower(p.word())
	p.space()
	if name == "" || !strings.HasPrefix(p.s[p.at:], "=") {
		return fmt.Errorf("<%.60s>: bad attribute %.60q", e.name, name)
	}
	p.at++
	p.space()
	if p.at == len(p.s) || p.s[p.at] != '"' && p.s[p.at] != '\'' {
		return fmt.Errorf("<%.60s>: the value of %.60q is not quoted", e.name, name)
	}
	value := p.s[p.at+1:]
	end := strings.IndexByte(value, p.s[p.at])
	if end < 0 {
		return fmt.Errorf("<%.60s>: the value of %.60q does not end", e.name, name)
	}
	if len(e.attrs) == maxAttrs {
		return fmt.Errorf("<%.60s>: more than %d attributes", e.name, maxAttrs)
	}
	e.attrs = append(e.attrs, attr{name, unescape(value[:end])})
	p.at += 1 + end + 1
	return nil
}

func (p *parser) space() {
	for p.at < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.at]) >= 0 {
		p.at++
	}
}

// word reads a name, colons in any number included.
func (p *parser) word() string {
	start := p.at
	for p.at < len(p.s) && strings.IndexByte(" \t\r\n=<>/\"'", p.s[p.at]) < 0 {
		p.at++
	}
	return p.s[start:p.at]
}

var entities = map[string]string{"amp": "&", "lt": "<", "gt": ">", "quot": `"`, "apos": "'"}

// unescape replaces the references that need no declaration; any other
// ampersand stands for itself.
func unescape(s string) string {
	if strings.IndexByte(s, '&') < 0 {
		return s
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "&")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		// The longest reference is &#x10FFFF;
		semi := strings.IndexByte(after[:min(len(after), 12)], ';')
		text, ok := "", false
		if semi > 0 {
			text, ok = reference(after[:semi])
		}
		if !ok {
			b.WriteByte('&')
			s = after
			continue
		}
		b.WriteString(text)
		s = after[semi+1:]
	}
}

func reference(name string) (string, bool) {
	digits, numeric := strings.CutPrefix(name, "#")
	if !numeric {
		text, ok := entities[name]
		return text, ok
	}
	base := 10
	if hex, ok := strings.CutPrefix(strings.ToLower(digits), "x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || !utf8.ValidRune(rune(n)) || !xmlRune(rune(n)) {
		return "", false
	}
	return string(rune(n)), true
}
