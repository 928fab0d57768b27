// Package hop is the codec of the headers that an upload carries from one
// beacon to the next, beside those that any client sends:
//
//	Repr-Digest: sha-256=:<base64>:                    RFC 9530
//	Beacon-Via: beacon-7, centre-1                     the beacons it has passed, oldest first
//	Beacon-Upload: domain="EXAMPLE", device="ws-17", agent="4f0c…", modified=@1790000000, recovered
//
// Beacon-Upload is an RFC 9651 dictionary of what is known of the file besides
// its name. Texts that are not printable ASCII are Display Strings. The writer is strict; the
// reader passes over members it does not know.
package hop

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"inventorybeacon/uploads"
)

// The headers' names.
const (
	ViaHeader    = "Beacon-Via"
	OriginHeader = "Beacon-Upload"
	DigestHeader = "Repr-Digest"
)

// MaxBytes is the longest header read.
const MaxBytes = 4096

// ErrMalformed means a header of this package says nothing that can be used.
var ErrMalformed = errors.New("malformed header")

// FormatVia writes the identities of beacons, oldest first.
func FormatVia(via []string) string {
	escaped := make([]string, len(via))
	for i, id := range via {
		escaped[i] = url.PathEscape(id)
	}
	return strings.Join(escaped, ", ")
}

// ParseVia reads the header's lines. More identities than any honest file has
// passed are malformed only by their bytes: counting them is the caller's.
func ParseVia(lines []string) ([]string, error) {
	joined := strings.Join(lines, ",")
	if len(joined) > MaxBytes {
		return nil, fmt.Errorf("%w: %s: %d bytes; %d are allowed", ErrMalformed, ViaHeader, len(joined), MaxBytes)
	}
	var via []string
	for id := range strings.SplitSeq(joined, ",") {
		id, err := url.PathUnescape(strings.Trim(id, " \t"))
		if err != nil || strings.ContainsFunc(id, unicode.IsControl) || !utf8.ValidString(id) {
			return nil, fmt.Errorf("%w: %s: an identity cannot be read", ErrMalformed, ViaHeader)
		}
		if id != "" {
			via = append(via, id)
		}
	}
	return via, nil
}

// Looped reports whether a file that passed via has been at self before, or
// has passed so many beacons that it must be going round.
func Looped(via []string, self string) bool {
	return len(via) > uploads.MaxHops || slices.Contains(via, self)
}

// FormatDigest writes a Repr-Digest or Content-Digest.
func FormatDigest(d uploads.Digest) string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(d[:]) + ":"
}

// ParseDigest finds the sha-256 among a digest header's members. It reports
// false if there is none, and an error if there is one that cannot be one.
func ParseDigest(lines []string) (d uploads.Digest, ok bool, err error) {
	b, err := DigestMember(lines, "sha-256", len(d))
	copy(d[:], b)
	return d, b != nil, err
}

// DigestMember finds the digest of so many bytes that an algorithm made, nil if
// there is none. A name in capitals means the same, since a sender whose digest
// is passed over would take the answer for a proof.
func DigestMember(lines []string, algorithm string, size int) (digest []byte, err error) {
	for member := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		key, value, _ := strings.Cut(member, "=")
		if !strings.EqualFold(strings.Trim(key, " \t"), algorithm) {
			continue
		}
		value, _, _ = strings.Cut(value, ";") // parameters say nothing
		inner, quoted := strings.CutPrefix(strings.Trim(value, " \t"), ":")
		inner, closed := strings.CutSuffix(inner, ":")
		b, err := base64.StdEncoding.DecodeString(inner)
		if !quoted || !closed || err != nil || len(b) != size {
			return nil, fmt.Errorf("%w: %s digest %.80q", ErrMalformed, algorithm, value)
		}
		digest = b // of two, the last counts, as in any dictionary
	}
	return digest, nil
}

// An Origin is what a beacon knows of an upload besides its name and bytes.
type Origin struct {
	Device    uploads.Device
	AgentID   string
	Modified  time.Time // whole seconds
	Recovered bool
}

// OriginOf returns what u says of itself.
func OriginOf(u uploads.Upload) Origin {
	return Origin{Device: u.Device, AgentID: u.AgentID, Modified: u.Modified, Recovered: u.Recovered}
}

// String returns the header's value, empty if nothing is known.
func (o Origin) String() string {
	var members []string
	text := func(key, s string) {
		if s != "" {
			members = append(members, key+"="+quote(s))
		}
	}
	text("domain", o.Device.Domain)
	text("device", o.Device.Name)
	text("agent", o.AgentID)
	if !o.Modified.IsZero() {
		members = append(members, "modified=@"+strconv.FormatInt(o.Modified.Unix(), 10))
	}
	if o.Recovered {
		members = append(members, "recovered")
	}
	return strings.Join(members, ", ")
}

// member matches one member of a dictionary whose values are bare items, up to
// the comma behind it.
var member = regexp.MustCompile(`^([a-z*][a-z0-9_.*-]*)(?:=("(?:[^"\\]|\\["\\])*"|%"[^"]*"|@-?[0-9]{1,15}|\?[01]|[^",;\s]+))?[ \t]*(?:,[ \t]*|$)`)

// ParseOrigin reads the header's lines; none give the zero Origin.
func ParseOrigin(lines []string) (Origin, error) {
	rest := strings.Trim(strings.Join(lines, ", "), " \t")
	if len(rest) > MaxBytes {
		return Origin{}, fmt.Errorf("%w: %s: %d bytes; %d are allowed", ErrMalformed, OriginHeader, len(rest), MaxBytes)
	}
	var o Origin
	for rest != "" {
		m := member.FindStringSubmatch(rest)
		if m == nil {
			return Origin{}, fmt.Errorf("%w: %s: no dictionary at %.40q", ErrMalformed, OriginHeader, rest)
		}
		if err := o.set(m[1], m[2]); err != nil {
			return Origin{}, fmt.Errorf("%w: %s: %s: %w", ErrMalformed, OriginHeader, m[1], err)
		}
		rest = rest[len(m[0]):]
	}
	return o, nil
}

// maxText bounds each text; longer ones are not ours.
const maxText = 255

func (o *Origin) set(key, value string) (err error) {
	switch key {
	case "domain":
		o.Device.Domain, err = unquote(value)
	case "device":
		o.Device.Name, err = unquote(value)
	case "agent":
		o.AgentID, err = unquote(value)
	case "modified":
		secs, err := strconv.ParseInt(strings.TrimPrefix(value, "@"), 10, 64)
		if err != nil {
			return errors.New("no date")
		}
		o.Modified = time.Unix(secs, 0).UTC()
	case "recovered":
		o.Recovered = value == "" || value == "?1"
	}
	return err
}

func quote(s string) string {
	plain := !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
	if plain {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
	}
	var b strings.Builder
	b.WriteString(`%"`)
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '%' || c == '"' || c == '\\' {
			fmt.Fprintf(&b, "%%%02x", c)
			continue
		}
		b.WriteByte(c)
	}
	b.WriteByte('"')
	return b.String()
}

// unquote reads a String or a Display String.
func unquote(v string) (string, error) {
	s, display := strings.CutPrefix(v, "%")
	if len(s) < 2 || s[0] != '"' {
		return "", errors.New("no text")
	}
	s = s[1 : len(s)-1]
	if display {
		var err error
		if s, err = url.PathUnescape(s); err != nil {
			return "", errors.New("a bad escape")
		}
	} else {
		s = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(s)
	}
	if len(s) > maxText || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return "", errors.New("not a name")
	}
	return s, nil
}
