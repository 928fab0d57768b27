package document

import "bytes"

// until passes everything up to end, and end. What is forbidden must not come
// before.
func (s *scanner) until(end, forbidden string) error {
	for {
		buf, i := s.buf[:s.end], s.pos
		for i < len(buf) && class[buf[i]]&inQuiet != 0 {
			i++
		}
		s.pos = i
		if !s.more() {
			return s.ended()
		}
		switch c := s.buf[s.pos]; {
		case c == end[0] && s.at(end):
			return nil
		case c == end[0] && s.cut(end):
			return s.ended()
		case c == end[0] && forbidden != "" && s.at(forbidden):
			return s.fail("%s where it must not be", forbidden)
		case c < ' ' || c >= 0x80:
			if _, err := s.char(); err != nil {
				return err
			}
		default:
			s.pos++
		}
	}
}

// comment reads the rest of <!-- … -->.
func (s *scanner) comment() error {
	s.from = s.offset()
	return s.until("-->", "--")
}

// instruction reads the rest of <? … ?>.
func (s *scanner) instruction() (err error) {
	s.from = s.offset()
	if s.scratch, err = s.name(s.scratch[:0]); err != nil {
		return err
	}
	if bytes.EqualFold(s.scratch, []byte("xml")) {
		return s.fail("an XML declaration that is not at the beginning")
	}
	if s.at("?>") {
		return nil
	}
	if s.cut("?>") {
		return s.ended()
	}
	if err := s.gap(); err != nil {
		return err
	}
	return s.until("?>", "")
}

// doctype reads the rest of <!DOCTYPE … >. Its external identifier is passed
// over like any other words; what is in brackets is an internal subset.
func (s *scanner) doctype() (err error) {
	s.from = s.offset()
	if err := s.gap(); err != nil {
		return err
	}
	if s.scratch, err = s.name(s.scratch[:0]); err != nil {
		return err
	}
	for {
		s.blanks()
		if !s.more() {
			return s.ended()
		}
		switch c := s.buf[s.pos]; {
		case c == '>':
			s.pos++
			return nil
		case c == '[':
			return s.fail("a document type with an internal subset")
		case c == '"' || c == '\'':
			s.pos++
			if err := s.until(string(c), ""); err != nil {
				return err
			}
		default:
			if s.scratch, err = s.name(s.scratch[:0]); err != nil {
				return err
			}
			if id := string(s.scratch); id != "PUBLIC" && id != "SYSTEM" {
				return s.fail("a document type that names neither SYSTEM nor PUBLIC")
			}
		}
	}
}
