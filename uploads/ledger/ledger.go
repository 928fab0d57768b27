// Package ledger tells the beacons above what was lost here. Losses are in the
// journal of a spool, and in its receipts, as long as these are kept; a [Teller]
// also writes them into files of their own, which it puts into that very spool,
// so that they go up as everything else does.
//
//	spool (losses) -> Teller -> spool (a report) -> relay -> …
//
// A report is made once and never differently: which losses it tells of is
// recorded before it is accepted, so that a process that ends in between makes
// the same file again, under the same receipt. The next one is begun when the one
// before it has left, so that reports never need room that others' files would have
// to make.
//
// What happens to a spool's own reports is not told in further ones.
package ledger

import (
	"strings"
	"time"

	"inventorybeacon/uploads"
)

// Version is the format of a report's lines.
const Version = 1

// Kind is what reports are uploaded as, and tag is how their names tell them from
// other files of it.
const (
	Kind      = "Events"
	tag       = "losses"
	extension = ".ndjson"
)

// EventLoss is the event that a line tells of. There may be others.
const EventLoss = "loss"

// A Loss is one line of a report.
type Loss struct {
	Version int    `json:"version"`
	Event   string `json:"event"`
	// Beacon is the identity of who lost the file: a beacon's, or "agent:" and the
	// agent's id.
	Beacon string `json:"beacon"`
	// Seq is the number of the event there.
	Seq     uint64 `json:"seq"`
	Receipt string `json:"receipt,omitempty"`
	Kind    string `json:"kind,omitempty"`
	Name    string `json:"name,omitempty"`
	Device  string `json:"device,omitempty"`
	Domain  string `json:"domain,omitempty"`
	// SHA256 is nil if damage left nothing of the file but its number.
	SHA256   *uploads.Digest `json:"sha256,omitempty"`
	Bytes    int64           `json:"bytes"`
	Received time.Time       `json:"received,omitzero"`
	At       time.Time       `json:"at"`
	// AgeSeconds is how long the file had been there.
	AgeSeconds int64  `json:"age_seconds"`
	Reason     string `json:"reason"`
	Detail     string `json:"detail,omitempty"`
}

// IsReport reports whether a file of that kind and name tells of losses.
func IsReport(kind string, name uploads.Name) bool {
	if !strings.EqualFold(kind, Kind) || name.Ext() != extension || name.Compressed() {
		return false
	}
	p := name.Parts()
	return strings.EqualFold(p.Tag, tag) && !p.At.IsZero()
}

// OfBeacon reports whether u is a report of a beacon, whose name is no device's.
func OfBeacon(u uploads.Upload) bool { return u.AgentID == "" && IsReport(u.Kind, u.Name) }
