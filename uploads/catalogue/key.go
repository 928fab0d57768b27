package catalogue

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"inventorybeacon/uploads"
)

// peerGroup is what counts as one peer: an IPv4 address, or the /64 that an
// IPv6 host has to itself.
func peerGroup(peer string) string {
	a, err := netip.ParseAddr(peer)
	if err != nil {
		return peer
	}
	if a = a.Unmap().WithZone(""); a.Is4() {
		return a.String()
	}
	p, _ := a.Prefix(64) // an IPv6 address has that many bits
	return p.String()
}

// keys returns what two spellings of one device have in common: the case, and
// whether characters are escaped as in a file name. The name is as a file has it;
// one that only looks escaped has to be escaped before.
func keys(d uploads.Device) (domain, name string) {
	k := uploads.Device{Domain: d.Domain, Name: unescape(d.Name)}.Key()
	return k.Domain, k.Name
}

// asTyped is the key of a name that a person gave as it truly is, although it looks
// escaped.
func asTyped(name string) string { return strings.ToLower(norm.NFC.String(name)) }

// unescape undoes [uploads.EscapeDevice].
func unescape(s string) string {
	if !strings.Contains(s, "@") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c, ok := escaped(s[i:]); ok {
			b.WriteByte(c)
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	if !utf8.ValidString(b.String()) {
		return s // it only looked escaped
	}
	return norm.NFC.String(b.String())
}

func escaped(s string) (byte, bool) {
	if len(s) < 3 || s[0] != '@' || strings.ToUpper(s[1:3]) != s[1:3] {
		return 0, false
	}
	b, err := hex.DecodeString(s[1:3])
	if err != nil {
		return 0, false
	}
	return b[0], true
}
