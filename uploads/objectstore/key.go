package objectstore

import (
	"net/url"
	"path"
	"strings"
	"time"

	"inventorybeacon/uploads"
)

// unknown stands for a device, a domain or a date that is not known.
const unknown = "unknown"

// Key returns the object's key. Parts that come from the sender are
// percent-encoded where they hold more than a file name may.
func Key(prefix string, u uploads.Upload) string {
	date := unknown
	if at := u.Name.Parts().At; !at.IsZero() {
		date = at.Format(time.DateOnly)
	}
	file := u.Name.Stem() + "~" + u.Digest.String()[:16] + u.Name.Suffix()
	return path.Join(prefix, segment(u.Kind), "date="+date, segment(u.Device.Domain), segment(u.Device.Name), file)
}

// segment makes one part of a key of s.
func segment(s string) string {
	if s == "" {
		return "_" + unknown
	}
	if _, err := uploads.ParseName(s); err == nil {
		return s
	}
	return strings.ReplaceAll(url.PathEscape(s), ".", "%2E") // "." and ".." are no folders
}

// metadata says of the object what its key does not, percent-encoded, since
// headers hold no other letters.
func metadata(u uploads.Upload, beacon string) map[string]string {
	m := map[string]string{
		"sha256":   u.Digest.String(),
		"name":     url.PathEscape(u.Name.String()),
		"received": u.Received.UTC().Format(time.RFC3339Nano),
	}
	optional := map[string]string{"domain": u.Device.Domain, "device": u.Device.Name, "agent": u.AgentID, "beacon": beacon, "via": strings.Join(u.Via, ",")}
	if !u.Modified.IsZero() {
		optional["modified"] = u.Modified.UTC().Format(time.RFC3339)
	}
	for k, v := range optional {
		if v != "" {
			m[k] = url.PathEscape(v)
		}
	}
	return m
}
