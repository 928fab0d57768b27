package bundle

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Folders are the top-level folders of the incumbent's staging area: what
// ready-made files may lie in.
var Folders = []string{"Policies", "Schedules", "ClientSettings", "ClientConfiguration", "InventorySettingsConfiguration", "Packages"}

// wireExts are the extensions of ready-made files.
var wireExts = []string{".npl", ".osd", ".nds", ".ndc"}

// Bounds of names in a bundle: the deepest real path has four parts.
const (
	maxPath  = 400
	maxDepth = 12
)

// badPath says why p, with slashes, may not be a path in a bundle; "" if it may.
func badPath(p string) string {
	switch {
	case len(p) > maxPath:
		return "its path is too long"
	case !utf8.ValidString(p):
		return "its path is not UTF-8"
	case !norm.NFC.IsNormalString(p):
		return "its letters are not in the composed form (NFC)"
	case strings.HasPrefix(p, "/"):
		return "its path is absolute"
	case strings.Contains(p, `\`):
		return "its path holds a backslash"
	case strings.Count(p, "/") >= maxDepth:
		return "it lies too deep"
	}
	for part := range strings.SplitSeq(p, "/") {
		if why := badPart(part); why != "" {
			return why
		}
	}
	return ""
}

// immutable is how names end that carry the digest of their contents; no file
// of an administrator's may look like one.
var immutable = regexp.MustCompile(`~[0-9a-fA-F]{16}(\.[^.]*)?$`)

func badPart(s string) string {
	switch {
	case s == "" || s == "." || s == "..":
		return "its path climbs or has an empty part"
	case strings.HasSuffix(s, ".") || strings.HasSuffix(s, " ") || strings.HasPrefix(s, " "):
		return "a part of its path begins or ends with a space, or ends with a dot"
	case isWindowsDevice(s):
		return "its name is that of a Windows device"
	case immutable.MatchString(s):
		return "its name ends like one that carries a digest"
	case strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f || strings.ContainsRune(`<>:"|?*`, r) }):
		return "its name holds a character that not every operating system takes"
	}
	return ""
}

var windowsDevice = regexp.MustCompile(`(?i)^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])\s*(\.|$)`)

func isWindowsDevice(s string) bool { return windowsDevice.MatchString(s) }

// hidden reports whether p is not looked at: a part of it starts with a dot,
// or a file system's own bookkeeping.
func hidden(p string) bool {
	for part := range strings.SplitSeq(p, "/") {
		if strings.HasPrefix(part, ".") && part != "." && part != ".." || part == "__MACOSX" {
			return true
		}
	}
	return false
}

// folder returns the top-level folder of p as it is usually spelled, "" if it
// is none of Folders.
func folder(p string) string {
	top, _, below := strings.Cut(p, "/")
	i := slices.IndexFunc(Folders, func(f string) bool { return strings.EqualFold(f, top) })
	if i < 0 || !below {
		return ""
	}
	return Folders[i]
}

// ext returns the extension of a ready-made file in lower case, "" for another.
func ext(p string) string {
	for _, e := range wireExts {
		if len(p) > len(e) && strings.EqualFold(p[len(p)-len(e):], e) {
			return e
		}
	}
	return ""
}
