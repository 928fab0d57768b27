package policy

import (
	"strings"
	"unicode/utf8"
)

// maxNameBytes bounds the name of a bundle or a command; with a revision
// behind it, it still fits every file system.
const maxNameBytes = 100

// ValidName reports whether s may name a bundle or a command: letters, digits
// and . _ - and space, starting with a letter or digit, not ending in a dot
// or space. It becomes a file name on every operating system.
func ValidName(s string) bool {
	if s == "" || len(s) > maxNameBytes || strings.Contains(s, "..") || strings.HasSuffix(s, ".") || strings.HasSuffix(s, " ") {
		return false
	}
	for i, r := range s {
		alnum := r < utf8.RuneSelf && (r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
		if !alnum && (i == 0 || !strings.ContainsRune("._- ", r)) {
			return false
		}
	}
	return true
}
