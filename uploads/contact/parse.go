package contact

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Items come as string (String and Display String), int64 (Integer), date, and
// other for what this header has no use for.
type (
	date  int64
	other struct{}
)

// A parser walks an RFC 9651 dictionary (section 4.2). It checks the syntax of
// everything and keeps the values of a few types.
type parser struct{ rest string }

// parseDictionary calls set for every member, in order, so that the last of
// two with the same key counts, as the RFC has it. set may have been called
// when an error comes out.
func parseDictionary(s string, set func(key string, v any)) error {
	p := &parser{rest: strings.Trim(s, " ")}
	for p.rest != "" {
		key, err := p.key()
		if err != nil {
			return err
		}
		v, err := p.value()
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		set(key, v)
		p.skip(" \t")
		if p.rest == "" {
			return nil
		}
		if !p.take(',') {
			return fmt.Errorf("%s: want a comma behind it", key)
		}
		p.skip(" \t")
		if p.rest == "" {
			return errors.New("it ends in a comma")
		}
	}
	return nil
}

// value reads what follows a member's key.
func (p *parser) value() (any, error) {
	var v any = other{} // a bare key is a Boolean
	if p.take('=') {
		var err error
		if v, err = p.itemOrList(); err != nil {
			return nil, err
		}
	}
	return v, p.parameters()
}

func (p *parser) itemOrList() (any, error) {
	if !p.take('(') {
		return p.bareItem()
	}
	for {
		p.skip(" ")
		if p.take(')') {
			return other{}, nil
		}
		if _, err := p.bareItem(); err != nil {
			return nil, err
		}
		if err := p.parameters(); err != nil {
			return nil, err
		}
		if c := p.peek(); c != ' ' && c != ')' {
			return nil, errors.New("a list that does not end")
		}
	}
}

func (p *parser) parameters() error {
	for p.take(';') {
		p.skip(" ")
		if _, err := p.key(); err != nil {
			return err
		}
		if p.take('=') {
			if _, err := p.bareItem(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *parser) bareItem() (any, error) {
	switch c := p.peek(); {
	case c == '"':
		return p.quoted()
	case c == '%':
		return p.display()
	case c == '-' || digit(c):
		return p.number()
	case c == '@':
		p.rest = p.rest[1:]
		n, err := p.number()
		secs, ok := n.(int64)
		if err == nil && !ok {
			err = errors.New("a date that is not whole seconds")
		}
		return date(secs), err
	case c == '?':
		return p.boolean()
	case c == ':':
		return p.bytes()
	case c == '*' || letter(c):
		p.skipFunc(func(c byte) bool { return tokenByte(c) || c == ':' || c == '/' })
		return other{}, nil
	default:
		return nil, errors.New("no value")
	}
}

func (p *parser) key() (string, error) {
	if c := p.peek(); c != '*' && !(c >= 'a' && c <= 'z') {
		return "", errors.New("a key does not start with a lower-case letter")
	}
	return p.skipFunc(func(c byte) bool {
		return c >= 'a' && c <= 'z' || digit(c) || strings.IndexByte("_-.*", c) >= 0
	}), nil
}

func (p *parser) quoted() (any, error) {
	p.rest = p.rest[1:]
	plain := p.skipFunc(func(c byte) bool { return printable(c) && c != '"' && c != '\\' })
	if p.take('"') { // nearly always
		return strings.Clone(plain), nil // or it would keep the whole request's head
	}
	var b strings.Builder
	b.WriteString(plain)
	for p.rest != "" {
		c := p.next()
		switch {
		case c == '"':
			return b.String(), nil
		case c == '\\':
			if c = p.next(); c != '"' && c != '\\' {
				return nil, errors.New("a backslash before something else than a quote or a backslash")
			}
		case !printable(c):
			return nil, errors.New("a string with a character that is not printable ASCII")
		}
		b.WriteByte(c)
	}
	return nil, errors.New("a string that does not end")
}

func (p *parser) display() (any, error) {
	p.rest = p.rest[1:]
	if !p.take('"') {
		return nil, errors.New("no value")
	}
	var b strings.Builder
	for p.rest != "" {
		c := p.next()
		switch {
		case c == '"' && !utf8.ValidString(b.String()):
			return nil, errors.New("a display string that is not UTF-8")
		case c == '"':
			return b.String(), nil
		case c == '%':
			if len(p.rest) < 2 || !lowerHex(p.rest[0]) || !lowerHex(p.rest[1]) {
				return nil, errors.New("a display string with a bad escape")
			}
			n, _ := strconv.ParseUint(p.rest[:2], 16, 8) // two hex digits always parse
			p.rest, c = p.rest[2:], byte(n)
		case !printable(c):
			return nil, errors.New("a display string with a character that is not printable ASCII")
		}
		b.WriteByte(c)
	}
	return nil, errors.New("a display string that does not end")
}

// number reads an Integer (at most 15 digits) or passes over a Decimal (at most
// 12 digits, a dot and 3 more).
func (p *parser) number() (any, error) {
	sign := ""
	if p.take('-') {
		sign = "-"
	}
	whole := p.skipFunc(digit)
	if whole == "" {
		return nil, errors.New("a number without digits")
	}
	if p.take('.') {
		if frac := p.skipFunc(digit); len(whole) > 12 || frac == "" || len(frac) > 3 {
			return nil, errors.New("a decimal with too many digits, or too few")
		}
		return other{}, nil
	}
	if len(whole) > 15 {
		return nil, errors.New("a number of more than 15 digits")
	}
	return strconv.ParseInt(sign+whole, 10, 64)
}

func (p *parser) boolean() (any, error) {
	p.rest = p.rest[1:]
	if p.take('0') || p.take('1') {
		return other{}, nil
	}
	return nil, errors.New("a question mark without 0 or 1")
}

func (p *parser) bytes() (any, error) {
	p.rest = p.rest[1:]
	p.skipFunc(func(c byte) bool { return letter(c) || digit(c) || strings.IndexByte("+/=", c) >= 0 })
	if p.take(':') {
		return other{}, nil
	}
	return nil, errors.New("a byte sequence that does not end")
}

// peek returns the next byte, or 0 at the end.
func (p *parser) peek() byte {
	if p.rest == "" {
		return 0
	}
	return p.rest[0]
}

func (p *parser) next() byte {
	c := p.peek()
	p.rest = p.rest[min(1, len(p.rest)):]
	return c
}

func (p *parser) take(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *parser) skip(chars string) {
	p.skipFunc(func(c byte) bool { return strings.IndexByte(chars, c) >= 0 })
}

// skipFunc passes over the bytes that f wants and returns them.
func (p *parser) skipFunc(f func(byte) bool) string {
	i := 0
	for i < len(p.rest) && f(p.rest[i]) {
		i++
	}
	s := p.rest[:i]
	p.rest = p.rest[i:]
	return s
}

func digit(c byte) bool    { return c >= '0' && c <= '9' }
func letter(c byte) bool   { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func lowerHex(c byte) bool { return digit(c) || c >= 'a' && c <= 'f' }

func tokenByte(c byte) bool {
	return digit(c) || letter(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
