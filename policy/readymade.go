package policy

import (
	"regexp"
	"strings"
)

// PolicyPath reads the path of a device's policy,
// Policies/Merged/<DOMAIN>_domain/Machine/<device>.npl, whose fixed parts are
// compared without regard to case.
func PolicyPath(path string) (domain, device string, ok bool) {
	parts := strings.Split(path, "/")
	if len(parts) != 5 || !strings.EqualFold(parts[0], "Policies") || !strings.EqualFold(parts[1], "Merged") || !strings.EqualFold(parts[3], "Machine") {
		return "", "", false
	}
	domain, ok = cutSuffixFold(parts[2], "_domain")
	if !ok {
		return "", "", false
	}
	device, ok = cutSuffixFold(parts[4], ".npl")
	return domain, device, ok && domain != "" && device != ""
}

func cutSuffixFold(s, suffix string) (string, bool) {
	if len(s) < len(suffix) || !strings.EqualFold(s[len(s)-len(suffix):], suffix) {
		return s, false
	}
	return s[:len(s)-len(suffix)], true
}

var trailingGUID = regexp.MustCompile(`-\{?[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\}?$`)

// CachedPolicy reads the path of a policy as the incumbent caches it,
// Policies/<device>-<UID>.npl. The UID is a trailing GUID, else what follows
// the last hyphen. With several hyphens and no GUID nobody can tell where the
// name ends: then device is empty and ambiguous is true.
func CachedPolicy(path string) (device string, ambiguous bool) {
	top, file, ok := strings.Cut(path, "/")
	if !ok || !strings.EqualFold(top, "Policies") || strings.Contains(file, "/") {
		return "", false
	}
	stem, ok := cutSuffixFold(file, ".npl")
	if !ok {
		return "", false
	}
	if at := trailingGUID.FindStringIndex(stem); at != nil {
		return stem[:at[0]], false
	}
	device, uid, ok := strings.Cut(stem, "-")
	switch {
	case !ok || uid == "":
		return "", false
	case strings.Contains(uid, "-"):
		return "", true
	}
	return device, false
}
