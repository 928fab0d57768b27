package document

import "unicode/utf8"

// What a byte may be part of.
const (
	inText uint8 = 1 << iota
	inValue
	inQuiet // comments and the like, where nothing but the end has a meaning
	nameStart
	nameByte
	space
)

var class = classes()

func classes() (c [256]uint8) {
	for b := range c {
		switch b := byte(b); {
		case b == '\t' || b == '\n' || b == '\r' || b == ' ':
			c[b] = inText | inValue | inQuiet | space
		case b < ' ':
			// illegal everywhere
		case b >= utf8.RuneSelf:
			c[b] = nameStart | nameByte // in a text it is looked at more closely
		default:
			c[b] = inText | inValue | inQuiet
		}
	}
	for _, b := range []byte("<&]") {
		c[b] &^= inText
	}
	for _, b := range []byte(`<&"'`) {
		c[b] &^= inValue
	}
	for _, b := range []byte("->?]\"'[") {
		c[b] &^= inQuiet
	}
	for b := byte('a'); b <= 'z'; b++ {
		c[b] |= nameStart | nameByte
		c[b-'a'+'A'] |= nameStart | nameByte
	}
	c['_'] |= nameStart | nameByte
	c[':'] |= nameStart | nameByte
	for _, b := range []byte("-.0123456789") {
		c[b] |= nameByte
	}
	return c
}

// isChar reports whether XML allows a character.
func isChar(r rune) bool {
	switch {
	case r < ' ':
		return r == '\t' || r == '\n' || r == '\r'
	case r < 0xd800:
		return true
	case r < 0xe000:
		return false
	case r < 0xfffe:
		return true
	}
	return r >= 0x10000 && r <= utf8.MaxRune
}
