package contact

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxInteger is the largest Integer of RFC 9651: fifteen digits.
const maxInteger = 999_999_999_999_999

// A writer builds a dictionary, in the order its members are given. Members
// that say nothing are left out.
type writer struct{ strings.Builder }

func (w *writer) member(key, value string) {
	if w.Len() > 0 {
		w.WriteString(", ")
	}
	w.WriteString(key + "=" + value)
}

func (w *writer) text(key, s string) {
	if s != "" {
		w.member(key, quote(s))
	}
}

func (w *writer) number(key string, n uint64) {
	if n > 0 {
		w.member(key, strconv.FormatUint(min(n, maxInteger), 10))
	}
}

func (w *writer) date(key string, t time.Time) {
	if !t.IsZero() {
		w.member(key, "@"+strconv.FormatInt(t.Unix(), 10))
	}
}

// quote writes s as a String, or as a Display String if it has to be one.
func quote(s string) string {
	for i := range len(s) {
		if !printable(s[i]) {
			return displayString(s)
		}
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func displayString(s string) string {
	var b strings.Builder
	b.WriteString(`%"`)
	for _, c := range []byte(s) {
		if c == '%' || c == '"' || !printable(c) {
			fmt.Fprintf(&b, "%%%02x", c)
			continue
		}
		b.WriteByte(c)
	}
	b.WriteByte('"')
	return b.String()
}

func printable(c byte) bool { return c >= 0x20 && c <= 0x7e }
