// Package contact is the codec of the Beacon-Agent request header, in which an
// agent says with every request who it is, what it holds and how it is doing.
//
// The header is an RFC 9651 dictionary:
//
//	Beacon-Agent: id="4f0c…", domain="EXAMPLE", name="ws-17", version="1.4.0",
//	  revision=42, digest="9f86…", spool=3, clock=@1790000000, error="…"
//
// The writer is strict: what it writes every RFC 9651 parser reads. The reader
// is lenient and bounded: unknown members, members of another type and
// parameters are passed over, and a header that is not a dictionary at all is
// ignored with a reason. A header is never a reason to refuse a request.
//
// RFC 9651 strings hold printable ASCII alone. A value with anything else in
// it, such as a device's name in another script, is written as a Display
// String, %"stra%c3%9fe"; the reader takes either form for every text.
package contact

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Header is the field's name.
const Header = "Beacon-Agent"

// MaxBytes is the longest header read or written, all its lines together. A
// longer limit lets a sender waste more of every request's parsing; a shorter
// one cuts long names written in other scripts, which take three bytes a byte.
const MaxBytes = 4096

// The longest texts, in bytes. An identity that is longer makes the header
// invalid, since a cut name is another name; an error is cut.
const (
	maxID      = 128
	maxName    = 255 // as DNS
	maxVersion = 64
	maxDigest  = 128
	maxError   = 256
)

// SpoolUnknown is the Spool of an agent that did not say.
const SpoolUnknown = -1

// A Contact is what an agent says about itself. Every member may be missing;
// the zero value of each says so, but for Spool.
type Contact struct {
	// ID is the agent's identity: 128 random bits until enrolment gives one.
	ID string
	// Domain and Name are the device.
	Domain, Name string
	Version      string // of the agent's program
	// Revision and Digest say which policy is in force on the agent.
	Revision uint64
	Digest   string
	// Spool is how many files wait in its outbox, or [SpoolUnknown].
	Spool int64
	// Clock is the agent's idea of the time, in whole seconds.
	Clock time.Time
	// Error is the last thing that went wrong, cleared by the next success.
	Error string
}

// ErrMalformed means the header says nothing that can be used. The request it
// came with is served as if it had sent none.
var ErrMalformed = errors.New("malformed " + Header + " header")

// Format writes c as the header's value. Control characters in the error
// become spaces and it is cut to fit; other values that cannot be sent as they
// are give an error. A Contact that says
// nothing gives the empty string.
func Format(c Contact) (string, error) {
	c.Error = cut(visible(c.Error), maxError)
	if err := c.check(); err != nil {
		return "", err
	}
	var w writer
	w.text("id", c.ID)
	w.text("domain", c.Domain)
	w.text("name", c.Name)
	w.text("version", c.Version)
	w.number("revision", c.Revision)
	w.text("digest", c.Digest)
	if c.Spool >= 0 {
		w.member("spool", fmt.Sprint(min(c.Spool, maxInteger)))
	}
	w.date("clock", c.Clock)
	w.text("error", c.Error)
	return w.String(), nil
}

// Parse reads the header's lines, as [net/http.Header.Values] returns them. No
// lines are no contact and no error. An error matches [ErrMalformed], says why
// in words that are safe to log, and comes with an empty Contact.
func Parse(lines []string) (Contact, error) {
	none := Contact{Spool: SpoolUnknown}
	size := 0
	for _, l := range lines {
		size += len(l)
	}
	if size > MaxBytes {
		return none, fmt.Errorf("%w: %d bytes; %d are allowed", ErrMalformed, size, MaxBytes)
	}
	c := none
	if err := parseDictionary(strings.Join(lines, ", "), c.set); err != nil {
		return none, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	c.Error = cut(visible(c.Error), maxError)
	if err := c.check(); err != nil {
		return none, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return c, nil
}

// IsZero reports whether nothing at all was said.
func (c Contact) IsZero() bool {
	return c == Contact{Spool: SpoolUnknown} || c == Contact{}
}

// set takes one member of the dictionary. Members it does not know, and those
// of a type it does not expect, change nothing.
func (c *Contact) set(key string, v any) {
	switch key {
	case "id":
		setText(&c.ID, v)
	case "domain":
		setText(&c.Domain, v)
	case "name":
		setText(&c.Name, v)
	case "version":
		setText(&c.Version, v)
	case "digest":
		setText(&c.Digest, v)
	case "error":
		setText(&c.Error, v)
	case "revision":
		if n, ok := v.(int64); ok && n >= 0 {
			c.Revision = uint64(n)
		}
	case "spool":
		if n, ok := v.(int64); ok && n >= 0 {
			c.Spool = n
		}
	case "clock":
		c.setClock(v)
	}
}

func setText(p *string, v any) {
	if s, ok := v.(string); ok {
		*p = s
	}
}

// maxClock is the end of the year 9999, the last that every format can write.
const maxClock = 253402300799

// setClock takes the Date that we write and the plain number of seconds that a
// script finds easier.
func (c *Contact) setClock(v any) {
	var secs int64
	switch v := v.(type) {
	case date:
		secs = int64(v)
	case int64:
		secs = v
	default:
		return
	}
	if secs > 0 && secs <= maxClock {
		c.Clock = time.Unix(secs, 0).UTC()
	}
}

func (c Contact) check() error {
	for _, f := range []struct {
		key, text string
		limit     int
	}{
		{"id", c.ID, maxID},
		{"domain", c.Domain, maxName},
		{"name", c.Name, maxName},
		{"version", c.Version, maxVersion},
		{"digest", c.Digest, maxDigest},
	} {
		switch {
		case len(f.text) > f.limit:
			return fmt.Errorf("%s is %d bytes long; %d are allowed", f.key, len(f.text), f.limit)
		case !utf8.ValidString(f.text):
			return fmt.Errorf("%s is not UTF-8", f.key)
		case strings.ContainsFunc(f.text, hidden):
			return fmt.Errorf("%s holds a character that cannot be seen", f.key)
		}
	}
	return nil
}

// hidden says which characters could make one text look like another, or
// disturb the terminal it is printed on.
func hidden(r rune) bool {
	if r >= ' ' && r <= '~' { // nearly all there ever is, on the way of every poll
		return false
	}
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co)
}

func visible(s string) string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if hidden(r) {
			return ' '
		}
		return r
	}, s))
}

// cut shortens s to at most n bytes without splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.TrimSpace(s[:n])
}
