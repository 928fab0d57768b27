package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"regexp"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

var declaredEncoding = regexp.MustCompile(`(?i)^<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']`)

// decode turns a document into UTF-8. The bytes decide, then the declaration:
// documents that say utf-16 and are not are common.
func decode(b []byte) (string, error) {
	switch {
	case bytes.HasPrefix(b, []byte{0xEF, 0xBB, 0xBF}):
		return valid(string(b[3:]))
	case bytes.HasPrefix(b, []byte{0xFF, 0xFE}):
		return decode16(b[2:], binary.LittleEndian)
	case bytes.HasPrefix(b, []byte{0xFE, 0xFF}):
		return decode16(b[2:], binary.BigEndian)
	case bytes.HasPrefix(b, []byte{'<', 0}):
		return decode16(b, binary.LittleEndian)
	case bytes.HasPrefix(b, []byte{0, '<'}):
		return decode16(b, binary.BigEndian)
	}
	if !utf8.Valid(b) {
		switch enc := declaredEncoding.FindSubmatch(b); {
		case enc == nil:
		case strings.EqualFold(string(enc[1]), "iso-8859-1"), strings.EqualFold(string(enc[1]), "windows-1252"):
			return valid(latin1(b))
		}
	}
	return valid(string(b))
}

func decode16(b []byte, order binary.ByteOrder) (string, error) {
	if len(b)%2 != 0 {
		return "", errors.New("UTF-16 with half a character at its end")
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = order.Uint16(b[2*i:])
	}
	return valid(string(utf16.Decode(units)))
}

// latin1 reads windows-1252 as iso-8859-1: they differ in signs that no name here has.
func latin1(b []byte) string {
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r)
}

func valid(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", errors.New("it is neither UTF-8 nor UTF-16")
	}
	return s, nil
}

// xmlRune reports whether XML 1.0 has a way to write r at all.
func xmlRune(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000
}
