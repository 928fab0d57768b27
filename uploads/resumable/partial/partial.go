// Package partial is the codec of the header fields by which an upload is sent
// in parts, as draft-ietf-httpbis-resumable-upload-12 has them:
//
//	Upload-Complete: ?0
//	Upload-Offset: 1048576
//	Upload-Length: 268435456
//	Upload-Limit: max-size=268435456, max-age=604800
//
// All are RFC 9651 structured fields. One that holds anything else counts as
// absent, which is what the draft wants of both sides.
package partial

import (
	"regexp"
	"strconv"
	"strings"
)

// Names of the fields, as [net/http.Header] has them.
const (
	Complete = "Upload-Complete"
	Offset   = "Upload-Offset"
	Length   = "Upload-Length"
	Limit    = "Upload-Limit"
	// Interop names the version of the draft that a client speaks, for as long as
	// it is one. Only a client that sends [Version] may get interim answers.
	Interop = "Upload-Draft-Interop-Version"
)

// Version is the interop version of the draft since its revision 9.
const Version = "8"

// MediaType is what the body of a PATCH is.
const MediaType = "application/partial-upload"

// StatusSupported is the interim status that tells where an upload may be
// resumed, and how far it has got.
const StatusSupported = 104

// Problem types that the draft defines.
const (
	MismatchingOffset  = "https://iana.org/assignments/http-problem-types#mismatching-upload-offset"
	CompletedUpload    = "https://iana.org/assignments/http-problem-types#completed-upload"
	InconsistentLength = "https://iana.org/assignments/http-problem-types#inconsistent-upload-length"
)

// item matches an Item and whatever parameters it has.
var (
	boolean = regexp.MustCompile(`^ *\?([01]) *(?:;.*)?$`)
	integer = regexp.MustCompile(`^ *([0-9]{1,15}) *(?:;.*)?$`)
)

// ParseBool reads a field whose value is a Boolean. It reports false for ok if
// there is none, or none that can be one.
func ParseBool(lines []string) (value, ok bool) {
	if len(lines) != 1 {
		return false, false
	}
	m := boolean.FindStringSubmatch(lines[0])
	return m != nil && m[1] == "1", m != nil
}

// ParseInt reads a field whose value is a non-negative Integer, likewise.
func ParseInt(lines []string) (value int64, ok bool) {
	if len(lines) != 1 {
		return 0, false
	}
	m := integer.FindStringSubmatch(lines[0])
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	return n, err == nil
}

// FormatBool writes a Boolean.
func FormatBool(b bool) string {
	if b {
		return "?1"
	}
	return "?0"
}

// FormatInt writes an Integer.
func FormatInt(n int64) string { return strconv.FormatInt(n, 10) }

// Limits are what a receiver bounds; 0 means no bound.
type Limits struct {
	MaxSize, MinSize             int64 // of the whole
	MaxAppendSize, MinAppendSize int64 // of one request that does not complete the upload
	MaxAge                       int64 // seconds that the upload has left
}

// String returns the Upload-Limit that says so. It is never empty: without any
// bound it says that there is no least size.
func (l Limits) String() string {
	var members []string
	add := func(key string, n int64) {
		if n > 0 {
			members = append(members, key+"="+FormatInt(n))
		}
	}
	add("max-size", l.MaxSize)
	members = append(members, "min-size="+FormatInt(l.MinSize))
	add("max-append-size", l.MaxAppendSize)
	add("min-append-size", l.MinAppendSize)
	add("max-age", l.MaxAge)
	return strings.Join(members, ", ")
}

// member matches one member of a dictionary of bare items and inner lists, as
// far as it must be understood to find the next one.
var member = regexp.MustCompile(`^([a-z*][a-z0-9_.*-]*)(?:=("(?:[^"\\]|\\.)*"|\([^)]*\)|[^",;() ]+))?((?: *;[^",]*(?:"(?:[^"\\]|\\.)*")?)*) *(?:, *|$)`)

// ParseLimits reads an Upload-Limit. Members that are unknown are passed over;
// a known one that is no Integer makes the whole count as absent.
func ParseLimits(lines []string) (l Limits, ok bool) {
	rest := strings.TrimSpace(strings.Join(lines, ", "))
	known := map[string]*int64{
		"max-size": &l.MaxSize, "min-size": &l.MinSize, "max-append-size": &l.MaxAppendSize,
		"min-append-size": &l.MinAppendSize, "max-age": &l.MaxAge,
	}
	for ok = rest != ""; rest != ""; {
		m := member.FindStringSubmatch(rest)
		if m == nil {
			return Limits{}, false
		}
		if into := known[m[1]]; into != nil {
			n, valid := ParseInt([]string{m[2]})
			if !valid {
				return Limits{}, false
			}
			*into = n
		}
		rest = rest[len(m[0]):]
	}
	return l, ok
}
