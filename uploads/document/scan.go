package document

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A scanner reads one document.
type scanner struct {
	input
	names    []byte // of the open elements, one behind the other
	open     []int  // where each of these names begins
	elements int
	anyBytes bool // it is in an encoding of single bytes that says nothing about them
	root     Root
	value    []byte // of an attribute that somebody wants to know
	scratch  []byte
}

func (in *input) fail(format string, args ...any) error {
	return &Error{At: in.offset(), What: fmt.Sprintf(format, args...)}
}

// begin reads up to the end of the root's start tag.
func (s *scanner) begin() error {
	s.decode()
	if s.at("<?xml ") || s.at("<?xml\t") || s.at("<?xml\n") || s.at("<?xml\r") {
		if err := s.declaration(); err != nil {
			return err
		}
	}
	for typed := false; ; {
		if err := s.blank(); err != nil {
			return err
		}
		switch done, err := s.aside(); {
		case err != nil:
			return err
		case done:
			continue
		}
		if !s.at("<!DOCTYPE") {
			break
		}
		if typed {
			return s.fail("a second document type")
		}
		typed = true
		if err := s.doctype(); err != nil {
			return err
		}
	}
	if s.cut("<!DOCTYPE") || s.cut("<!--") {
		return s.ended()
	}
	if !s.at("<") {
		return s.fail("no XML: text before the root element")
	}
	return s.startTag()
}

// epilogue makes sure that nothing follows the root element.
func (s *scanner) epilogue() error {
	for {
		s.from = s.offset()
		s.blanks()
		if !s.more() {
			if s.err != io.EOF {
				return s.err
			}
			return nil
		}
		switch done, err := s.aside(); {
		case err != nil:
			return err
		case s.cut("<!--"):
			return s.ended()
		case !done:
			return s.fail("something follows the root element")
		}
	}
}

// blanks passes white space.
func (s *scanner) blanks() (any bool) {
	for s.more() && class[s.buf[s.pos]]&space != 0 {
		s.pos++
		any = true
	}
	return any
}

// gap passes white space that must be there.
func (s *scanner) gap() error {
	switch {
	case s.blanks():
		return nil
	case !s.more():
		return s.ended()
	}
	return s.fail("no space where some must be")
}

// blank passes white space and expects that something follows.
func (s *scanner) blank() error {
	s.from = s.offset()
	s.blanks()
	if !s.more() {
		return s.ended()
	}
	return nil
}

// aside passes a comment or an instruction, if that is what comes.
func (s *scanner) aside() (bool, error) {
	switch {
	case s.at("<!--"):
		return true, s.comment()
	case s.at("<?"):
		return true, s.instruction()
	}
	return false, nil
}

// text reads up to a "<" and passes it.
func (s *scanner) text() error {
	s.from = s.offset()
	for {
		buf, i := s.buf[:s.end], s.pos
		for i < len(buf) && class[buf[i]]&inText != 0 {
			i++
		}
		s.pos = i
		if !s.more() {
			return s.ended()
		}
		var err error
		switch s.buf[s.pos] {
		case '<':
			s.pos++
			return nil
		case '&':
			_, err = s.reference()
		case ']':
			err = s.brackets()
		default:
			_, err = s.char()
		}
		if err != nil {
			return err
		}
	}
}

// brackets passes some "]", behind two of which no ">" may be.
func (s *scanner) brackets() error {
	n := 0
	for s.at("]") {
		n++
	}
	if n >= 2 && s.more() && s.buf[s.pos] == '>' {
		return s.fail("]]> outside a CDATA section")
	}
	return nil
}

// char passes a character, if it is one, and returns its length.
func (s *scanner) char() (int, error) {
	c := s.buf[s.pos]
	if c < utf8.RuneSelf || s.anyBytes {
		if !isChar(rune(c)) {
			return 0, s.fail("the character %U", c)
		}
		s.pos++
		return 1, nil
	}
	if s.end-s.pos < utf8.UTFMax && !utf8.FullRune(s.buf[s.pos:s.end]) {
		s.fill(utf8.UTFMax) // there may be fewer
	}
	r, n := utf8.DecodeRune(s.buf[s.pos:s.end])
	if r == utf8.RuneError && n <= 1 {
		if !utf8.FullRune(s.buf[s.pos:s.end]) && s.err != nil {
			return 0, s.ended()
		}
		return 0, s.fail("bytes that are not UTF-8")
	}
	if !isChar(r) {
		return 0, s.fail("the character %U", r)
	}
	s.pos += n
	return n, nil
}

// reference passes a reference to a character. Entities but the five that XML
// itself has are defined nowhere, since no definition is read.
func (s *scanner) reference() (rune, error) {
	s.pos++
	s.scratch = s.scratch[:0]
	for {
		if !s.more() {
			return 0, s.ended()
		}
		c := s.buf[s.pos]
		if c == ';' {
			break
		}
		if len(s.scratch) > 10 || c != '#' && class[c]&nameByte == 0 {
			return 0, s.fail("an & that begins no reference")
		}
		s.scratch = append(s.scratch, c)
		s.pos++
	}
	r, ok := referred(string(s.scratch))
	if !ok {
		return 0, s.fail("a reference to an entity that is not defined, or to no character")
	}
	s.pos++
	return r, nil
}

func referred(name string) (rune, bool) {
	switch name {
	case "amp":
		return '&', true
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	digits, ok := strings.CutPrefix(name, "#")
	if !ok {
		return 0, false
	}
	base := 10
	if hex, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 31)
	return rune(n), err == nil && isChar(rune(n))
}

// markup reads what follows a "<" inside the root element.
func (s *scanner) markup() error {
	s.from = s.offset()
	if !s.more() {
		return s.ended()
	}
	switch s.buf[s.pos] {
	case '/':
		s.pos++
		return s.endTag()
	case '?':
		s.pos++
		return s.instruction()
	case '!':
		s.pos++
		switch {
		case s.at("--"):
			return s.comment()
		case s.at("[CDATA["):
			return s.until("]]>", "")
		case s.cut("--"), s.cut("[CDATA["):
			return s.ended()
		}
		return s.fail("a declaration inside the root element")
	}
	return s.startTag()
}
