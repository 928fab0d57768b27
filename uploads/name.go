package uploads

import (
	"fmt"
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxNameBytes is the longest file name taken. With the marks we add in front
// of an extension it still fits every file system.
const MaxNameBytes = 200

// TimestampLayout is the time in a file name, as the incumbent writes it.
const TimestampLayout = "20060102T150405"

// A Name is the name of an uploaded file: one path segment that is harmless on
// every operating system it may be relayed to. The zero Name is no name.
type Name struct{ s string }

// ParseName checks s, which must already be percent-decoded, exactly once.
// What is wrong with it is told in words that may be shown to the sender.
func ParseName(s string) (Name, error) {
	if why := badName(s); why != "" {
		return Name{}, fmt.Errorf("%w: %s", ErrBadName, why)
	}
	return Name{s}, nil
}

func badName(s string) string {
	switch {
	case s == "":
		return "it is empty"
	case len(s) > MaxNameBytes:
		return fmt.Sprintf("it is %d bytes long; %d are allowed", len(s), MaxNameBytes)
	case !utf8.ValidString(s):
		return "it is not UTF-8"
	case !norm.NFC.IsNormalString(s):
		return "its letters are not in the composed form (NFC)"
	case strings.Contains(s, ".."):
		return "it holds two dots in a row"
	case strings.HasSuffix(s, ".") || strings.HasSuffix(s, " "):
		return "it ends in a dot or a space"
	case isWindowsDevice(s):
		return "it is the name of a Windows device"
	}
	for i, r := range s {
		if i == 0 && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return "it does not start with a letter or a digit"
		}
		if !nameRune(r) {
			return fmt.Sprintf("it holds the character %U", r)
		}
	}
	return ""
}

func nameRune(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(" ._()@+,-", r)
	}
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r)
}

// isWindowsDevice reports whether Windows would open a device instead of a
// file: the part before the first dot counts, whatever follows.
func isWindowsDevice(s string) bool {
	base, _, _ := strings.Cut(s, ".")
	base = strings.TrimRight(base, " ")
	if len(base) > len("COM¹") {
		return false
	}
	base = strings.ToUpper(base)
	switch base {
	case "CON", "PRN", "AUX", "NUL":
		return true
	}
	rest, ok := strings.CutPrefix(base, "COM")
	if !ok {
		rest, ok = strings.CutPrefix(base, "LPT")
	}
	return ok && utf8.RuneCountInString(rest) == 1 && strings.Contains("0123456789¹²³", rest)
}

// String returns the name as it was given.
func (n Name) String() string { return n.s }

// IsZero reports whether n is no name.
func (n Name) IsZero() bool { return n.s == "" }

// Key returns what two names that count as the same have in common.
func (n Name) Key() string { return strings.ToLower(n.s) }

// Compressed reports whether the name ends in ".gz".
func (n Name) Compressed() bool {
	before := len(n.s) - len(".gz")
	return before >= 0 && strings.EqualFold(n.s[before:], ".gz")
}

// Ext returns the extension that says what the file is: lower case, with its
// dot, without a ".gz" behind it.
func (n Name) Ext() string { return strings.ToLower(path.Ext(n.inflated())) }

// inflated is the name without ".gz".
func (n Name) inflated() string {
	if n.Compressed() {
		return n.s[:len(n.s)-len(".gz")]
	}
	return n.s
}

// Stem returns the name without its extension and without ".gz".
func (n Name) Stem() string {
	s := n.inflated()
	return strings.TrimSuffix(s, path.Ext(s))
}

// Suffix returns what follows the stem, as it was given, for example ".ndi.gz".
func (n Name) Suffix() string { return n.s[len(n.Stem()):] }

// Parts are what a file name says:
// [<user> on ]<device>[ at <yyyymmddThhmmss>][ (<tag>)].<ext>[.gz].
type Parts struct {
	User   string
	Device string // empty if the name does not say
	Tag    string
	// At is the local time in the name, in UTC's clothes since the name gives
	// no zone; zero if there is none.
	At time.Time
}

// Parts reads what the name says. A name with neither " on " nor
// " at <timestamp>" says nothing about the device.
func (n Name) Parts() (p Parts) {
	s := n.Stem()
	if open := strings.LastIndex(s, " ("); open > 0 && strings.HasSuffix(s, ")") {
		p.Tag, s = s[open+2:len(s)-1], s[:open]
	}
	if at := strings.LastIndex(s, " at "); at > 0 {
		if t, err := time.Parse(TimestampLayout, s[at+len(" at "):]); err == nil {
			p.At, s = t, s[:at]
		}
	}
	user, device, on := strings.Cut(s, " on ")
	switch {
	case on && user != "" && device != "":
		p.User, p.Device = user, device
	case !p.At.IsZero():
		p.Device = s
	}
	return p
}

// FileName builds the name under which a device sends a file, with tag and the
// extension (with its dot, and ".gz" behind it where it applies). The device's
// name is escaped where it does not fit, and preceded by a user's where a name
// may not start with it.
func FileName(device string, at time.Time, tag, ext string) (Name, error) {
	s := EscapeDevice(device) + " at " + at.Format(TimestampLayout)
	if tag != "" {
		s += " (" + tag + ")"
	}
	n, err := ParseName(s + ext)
	if err != nil {
		n, err = ParseName("system on " + s + ext)
	}
	return n, err
}

// MarshalText implements [encoding.TextMarshaler].
func (n Name) MarshalText() ([]byte, error) { return []byte(n.s), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (n *Name) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*n = Name{}
		return nil
	}
	*n, err = ParseName(string(b))
	return err
}
