package beacon

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"inventorybeacon/uploads"
)

// wirePath returns the path of a request as it was sent.
func wirePath(r *http.Request) string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if strings.HasPrefix(path, "/") {
		return path
	}
	if _, rest, ok := strings.Cut(path, "://"); ok && r.URL.Host != "" { // http://host/path
		return rest[max(0, strings.IndexByte(rest+"/", '/')):]
	}
	return r.URL.EscapedPath() // * or a test's request
}

// below returns what of the path that was sent is below the root. What is kept of
// it must not keep a request line of 32 KiB.
func below(r *http.Request) string {
	_, rest := cutRoot(r)
	if len(r.RequestURI) > maxURI {
		return strings.Clone(rest)
	}
	return rest
}

func cutRoot(r *http.Request) (root, rest string) {
	root, rest, _ = strings.Cut(strings.TrimPrefix(wirePath(r), "/"), "/")
	return root, rest
}

// sameRoot compares a root, which is ASCII, with one that was sent: letters that
// are beyond ASCII and fold to it are others.
func sameRoot(root, sent string) bool {
	return len(root) == len(sent) && strings.EqualFold(root, sent)
}

// escaped returns r with a path that is escaped as it was sent, also where the
// sender left something unescaped that should have been: [url.URL] then keeps
// only the decoded path, in which %2F and / are the same.
func escaped(r *http.Request) *http.Request {
	sent := wirePath(r)
	if r.URL.EscapedPath() == sent {
		return r
	}
	c := new(http.Request)
	*c = *r
	u := *r.URL
	u.RawPath = escapeRest(sent)
	c.URL = &u
	return c
}

// escapeRest escapes what is neither unreserved nor already escaped.
func escapeRest(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c == '%' || c == '/' || c < utf8.RuneSelf && (unicode.IsLetter(rune(c)) || unicode.IsDigit(rune(c)) || strings.IndexByte("-._~$&+,:;=@!'()*", c) >= 0) {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// segments decodes each segment of an escaped path, once. A segment that would
// mean more than itself somewhere is refused: what a slash, a backslash or two
// dots do depends on who reads them.
func segments(path string) ([]string, error) {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		s, err := url.PathUnescape(p)
		if err != nil {
			return nil, fmt.Errorf("%w: a bad escape", uploads.ErrBadName)
		}
		if why := badSegment(s); why != "" {
			return nil, fmt.Errorf("%w: %s", uploads.ErrBadName, why)
		}
		parts[i] = s
	}
	return parts, nil
}

func badSegment(s string) string {
	switch {
	case s == "." || s == "..":
		return "a path may not climb"
	case !utf8.ValidString(s):
		return "it is not UTF-8"
	case strings.ContainsAny(s, `/\`):
		return "it holds an escaped slash or a backslash"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "it holds a control character"
	}
	return ""
}
