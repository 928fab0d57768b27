package uploads

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"time"
)

// Custody levels: who is known to hold the file durably.
const (
	LevelBeacon = "beacon" // the beacon the agent spoke to
	LevelParent = "parent" // a beacon above it
	LevelStore  = "store"  // the directory or object store at the end
	// LevelUnproven is a server's that took a file and proves nothing: an incumbent's.
	LevelUnproven = "unproven"
)

// Custody is one holder's word that it has the file durably.
type Custody struct {
	Level  string    `json:"level"`
	Beacon string    `json:"beacon"`
	At     time.Time `json:"at"`
}

// A Receipt is a beacon's answer to an accepted upload. Everything but
// Received, Beacon, Custody and Duplicate is the same on every beacon and hop.
type Receipt struct {
	ID        string    `json:"receipt"`
	Kind      string    `json:"kind"`
	Name      string    `json:"name"`
	Device    string    `json:"device"`
	Domain    string    `json:"domain"`
	SHA256    Digest    `json:"sha256"`
	Bytes     int64     `json:"bytes"`
	Received  time.Time `json:"received"`
	Beacon    string    `json:"beacon"`
	Custody   []Custody `json:"custody"`
	Duplicate bool      `json:"duplicate"`
}

// receiptIDLength keeps 130 of the 256 bits: enough that two files never share
// an identifier, short enough to read over a telephone.
const receiptIDLength = 26

var receiptEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ReceiptID derives the receipt's identifier: the first 26 characters of the
// RFC 4648 base32, lower case, of SHA-256 over kind, lower-cased name and hex
// digest, separated by newlines.
func ReceiptID(kind string, name Name, d Digest) string {
	text := make([]byte, 0, 512) // on the stack, as every acknowledgement makes one
	text = append(append(text, kind...), '\n')
	text = append(append(text, name.Key()...), '\n')
	sum := sha256.Sum256(hex.AppendEncode(text, d[:]))
	var id [52]byte
	receiptEncoding.Encode(id[:], sum[:])
	return string(id[:receiptIDLength])
}
