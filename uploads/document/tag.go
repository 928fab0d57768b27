package document

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// name appends the name at hand to b.
func (s *scanner) name(b []byte) ([]byte, error) {
	if !s.more() {
		return b, s.ended()
	}
	if class[s.buf[s.pos]]&nameStart == 0 {
		return b, s.fail("no name where one must be")
	}
	n := len(b)
	for {
		buf, i := s.buf[:s.end], s.pos
		for i < len(buf) && class[buf[i]]&nameByte != 0 {
			i++
		}
		b = append(b, buf[s.pos:i]...)
		s.pos = i
		if len(b)-n > MaxName {
			return b, s.fail("a name longer than %d bytes", MaxName)
		}
		if s.pos < s.end {
			break
		}
		if !s.more() {
			return b, s.ended()
		}
	}
	if !s.anyBytes && !utf8.Valid(b[n:]) {
		return b, s.fail("bytes that are not UTF-8")
	}
	return b, nil
}

// startTag reads an element's name and attributes.
func (s *scanner) startTag() (err error) {
	at := len(s.names)
	if s.names, err = s.name(s.names); err != nil {
		return err
	}
	if s.elements++; s.elements > MaxElements {
		return s.fail("more than %d elements", MaxElements)
	}
	s.open = append(s.open, at)
	if len(s.open) > MaxDepth {
		return s.fail("elements nested deeper than %d", MaxDepth)
	}
	if s.elements == 1 {
		s.root.Name = string(s.names[bytes.LastIndexByte(s.names, ':')+1:])
	}
	for n := 0; ; n++ {
		spaced := s.blanks()
		if !s.more() {
			return s.ended()
		}
		switch s.buf[s.pos] {
		case '>':
			s.pos++
			return nil
		case '/':
			s.pos++
			s.close()
			return s.expect(">")
		}
		switch {
		case !spaced:
			return s.fail("no space before an attribute")
		case n == MaxAttributes:
			return s.fail("more than %d attributes", MaxAttributes)
		}
		if err := s.attribute(); err != nil {
			return err
		}
	}
}

func (s *scanner) close() {
	last := len(s.open) - 1
	s.names, s.open = s.names[:s.open[last]], s.open[:last]
}

func (s *scanner) endTag() (err error) {
	if s.scratch, err = s.name(s.scratch[:0]); err != nil {
		return err
	}
	if !bytes.Equal(s.scratch, s.names[s.open[len(s.open)-1]:]) {
		return s.fail("an end tag that is not the open element's")
	}
	s.close()
	s.blanks()
	return s.expect(">")
}

// expect passes what must come.
func (s *scanner) expect(what string) error {
	if s.at(what) {
		return nil
	}
	if s.cut(what) {
		return s.ended()
	}
	return s.fail("no %s where one must be", what)
}

// attribute reads one, and keeps what the root element says of its machine.
func (s *scanner) attribute() (err error) {
	s.from = s.offset()
	if s.scratch, err = s.name(s.scratch[:0]); err != nil {
		return err
	}
	var keep *string
	if s.elements == 1 {
		keep = s.wanted(s.scratch)
	}
	return s.equals(keep)
}

func (s *scanner) wanted(name []byte) *string {
	switch local := name[bytes.LastIndexByte(name, ':')+1:]; {
	case bytes.EqualFold(local, []byte("MachineName")):
		return &s.root.Machine
	case bytes.EqualFold(local, []byte("Scope")):
		return &s.root.Scope
	}
	return nil
}

// maxKept is the longest value that is kept. Names of machines and domains end
// long before.
const maxKept = 1 << 10

// equals reads what follows an attribute's name, and keeps the value if somebody
// wants it.
func (s *scanner) equals(keep *string) error {
	s.blanks()
	if err := s.expect("="); err != nil {
		return err
	}
	s.blanks()
	if !s.more() {
		return s.ended()
	}
	quote := s.buf[s.pos]
	if quote != '"' && quote != '\'' {
		return s.fail("a value without quotes")
	}
	s.pos++
	s.value = s.value[:0]
	for {
		done, err := s.valuePart(quote, keep != nil)
		if err != nil {
			return err
		}
		if done {
			break
		}
	}
	if keep != nil && len(s.value) <= maxKept {
		*keep = string(s.value)
	}
	return nil
}

// valuePart reads plain characters and whatever ends them; done says that it
// was the value's end.
func (s *scanner) valuePart(quote byte, keep bool) (done bool, err error) {
	buf, i := s.buf[:s.end], s.pos
	for i < len(buf) && class[buf[i]]&inValue != 0 {
		i++
	}
	s.keep(buf[s.pos:i], keep)
	s.pos = i
	if !s.more() {
		return false, s.ended()
	}
	switch c := s.buf[s.pos]; c {
	case quote:
		s.pos++
		return true, nil
	case '"', '\'':
		s.keep(s.buf[s.pos:s.pos+1], keep)
		s.pos++
	case '<':
		return false, s.fail("a < in a value")
	case '&':
		var r rune
		r, err = s.reference()
		if keep && len(s.value) <= maxKept {
			s.value = utf8.AppendRune(s.value, r)
		}
	default:
		var n int
		n, err = s.char()
		s.keep(s.buf[s.pos-n:s.pos], keep)
	}
	return false, err
}

func (s *scanner) keep(b []byte, keep bool) {
	if keep && len(s.value) <= maxKept {
		s.value = append(s.value, b...)
	}
}

// declaration reads the rest of <?xml …?>.
func (s *scanner) declaration() error {
	var version, encoding string
	for spaced := true; ; spaced = false {
		spaced = s.blanks() || spaced
		if !s.more() {
			return s.ended()
		}
		if s.buf[s.pos] == '?' {
			break
		}
		if !spaced {
			return s.fail("no space before an attribute")
		}
		var err error
		if s.scratch, err = s.name(s.scratch[:0]); err != nil {
			return err
		}
		var keep *string
		switch string(s.scratch) {
		case "version":
			keep = &version
		case "encoding":
			keep = &encoding
		case "standalone":
		default:
			return s.fail("an XML declaration with an unknown attribute")
		}
		if err := s.equals(keep); err != nil {
			return err
		}
	}
	if err := s.expect("?>"); err != nil {
		return err
	}
	if !strings.HasPrefix(version, "1.") {
		return s.fail("no XML 1.0")
	}
	return s.encoded(encoding)
}

// encoded takes the word of a document about its encoding. Some say utf-16 in
// UTF-8; what really is UTF-16 was decoded before.
func (s *scanner) encoded(label string) error {
	switch label = strings.ToLower(label); {
	case label == "", label == "utf-8", label == "utf8", strings.HasPrefix(label, "utf-16"):
		return nil
	}
	for _, prefix := range []string{"us-ascii", "ascii", "iso-8859-", "windows-12", "cp12", "latin1", "koi8-"} {
		if strings.HasPrefix(label, prefix) {
			s.anyBytes = true
			return nil
		}
	}
	return s.fail("an encoding that is not read here")
}
