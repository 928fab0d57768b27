package uploads

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// A Device is one machine: its name within a domain. Both compare without
// regard to case.
type Device struct {
	Domain string `json:"domain"`
	Name   string `json:"name"`
}

// IsZero reports whether the device is unknown.
func (d Device) IsZero() bool { return d.Name == "" }

// Key returns what two spellings of one device have in common.
func (d Device) Key() Device {
	return Device{strings.ToLower(d.Domain), strings.ToLower(d.Name)}
}

// String returns DOMAIN/name, or the name alone if the domain is unknown.
func (d Device) String() string {
	if d.Domain == "" {
		return d.Name
	}
	return d.Domain + "/" + d.Name
}

// EscapeDevice rewrites a device's name so that it fits in a file name: every
// byte of a character that does not fit becomes "@" and two hex digits, and so
// does "@" itself. The spaces of " on " and " at " are escaped too, since a
// file name gives them a meaning.
func EscapeDevice(s string) string {
	if !strings.HasPrefix(s, "-") && !strings.ContainsFunc(s, uncommon) { // nearly every machine
		return s
	}
	s = norm.NFC.String(s)
	var b strings.Builder
	escaped := false
	for i, r := range s {
		size := len(string(r))
		if r == unicode.ReplacementChar {
			size = 1 // invalid UTF-8 comes byte by byte
		}
		// A mark behind an escape would join its last digit.
		escaped = !fits(s, i, r) || escaped && unicode.IsMark(r)
		if !escaped {
			b.WriteRune(r)
			continue
		}
		for _, c := range []byte(s[i:min(i+size, len(s))]) {
			fmt.Fprintf(&b, "@%02X", c)
		}
	}
	// Once more: behind a byte that is not UTF-8 a letter stays as it was.
	return norm.NFC.String(b.String())
}

// uncommon reports whether a rune is one that a device's name may have to be escaped
// for.
func uncommon(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
}

func fits(s string, i int, r rune) bool {
	switch {
	case r == '@' || !nameRune(r) || r == unicode.ReplacementChar:
		return false
	case r == '(' || r == ')': // would read as a tag
		return false
	case i == 0:
		return unicode.IsLetter(r) || unicode.IsDigit(r)
	case r == ' ':
		rest := s[i:]
		return i+1 < len(s) && !strings.HasPrefix(rest, " on ") && !strings.HasPrefix(rest, " at ")
	case r == '.':
		return i+1 < len(s) && s[i-1] != '.'
	}
	return true
}
