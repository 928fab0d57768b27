package wire

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// GUID makes an identifier in braces that is the same for the same words, on
// every beacon and in every revision.
func GUID(words ...string) string {
	h := sha256.Sum256([]byte(strings.ToLower(strings.Join(words, "\n"))))
	h[6] = h[6]&0x0f | 0x80 // RFC 9562 version 8: made by a rule of our own
	h[8] = h[8]&0x3f | 0x80
	return fmt.Sprintf("{%x-%x-%x-%x-%x}", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}
