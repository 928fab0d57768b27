// Package uploads is about what agents tell: the kinds of file, their names,
// digests and receipts, and what happens to a file between the agent that
// wrote it and the store that keeps it.
//
// The same chain serves every hop, the agent's outbox, a beacon and its
// parent:
//
//	Accept -> spool -> Relay -> Sink
//	                \-> quarantine, loss ledger
//
// This package holds the words all of them share and touches neither disk nor
// network; the spool, the relay, the sinks and the catalogue are sub-packages.
package uploads

import (
	"errors"
	"fmt"
	"time"
)

// Errors that callers act on. Anything else is an I/O failure: retry.
var (
	// ErrBadName means the name can never be accepted; the sender should set
	// the file aside.
	ErrBadName = errors.New("bad name")
	// ErrBadKind means the kind or the extension is not one the receiver takes.
	ErrBadKind = errors.New("bad kind")
	// ErrTooLarge means the body is larger than the kind's limit.
	ErrTooLarge = errors.New("too large")
	// ErrDigest means the bytes are not the ones the sender announced.
	ErrDigest = errors.New("digest mismatch")
	// ErrContent means that what is in the file is not what its name says; the
	// sender should set it aside.
	ErrContent = errors.New("bad content")
	// ErrShort means the body ended before the announced length.
	ErrShort = errors.New("body ended early")
	// ErrFull means there is no room now; the sender should come back.
	ErrFull = errors.New("spool full")
	// ErrLoop means the file has been here before, or has passed too many beacons.
	ErrLoop = errors.New("relay loop")
	// ErrRefused means a destination will never take this file: quarantine it.
	ErrRefused = errors.New("refused by destination")
	// ErrUnknown means no such upload is held.
	ErrUnknown = errors.New("unknown upload")
	// ErrClosed means the spool is shutting down or has failed.
	ErrClosed = errors.New("spool closed")
)

// MaxHops is how many beacons a file may pass before it counts as looping.
const MaxHops = 8

// A RetryError is a destination's wish to be left alone for a while.
type RetryError struct {
	After time.Duration
	Err   error
}

func (e *RetryError) Error() string { return fmt.Sprintf("%v (retry after %v)", e.Err, e.After) }

// Unwrap returns the cause.
func (e *RetryError) Unwrap() error { return e.Err }

// A HeldError is a destination's word that it holds these very bytes durably,
// but not yet where this sender must see them before it forgets them. It is no
// failure: the sender asks again later and sends no body.
type HeldError struct {
	Custody []Custody // as far as they have got
}

func (e *HeldError) Error() string {
	if len(e.Custody) == 0 {
		return "held by the destination"
	}
	return "held by the destination, at level " + e.Custody[len(e.Custody)-1].Level
}

// An Upload is one file on its way up: everything that is known about it but
// its bytes.
type Upload struct {
	// Seq is the sequence number that the spool holding it gave it; it grows
	// in the order of acceptance and means nothing on another beacon.
	Seq     uint64
	Kind    string // canonical folder name, for example "Inventories"
	Name    Name
	Device  Device // zero if unknown
	AgentID string // as the agent's header gives it; empty if it sent none
	Digest  Digest
	Size    int64 // bytes as received
	// Received is when this beacon accepted it (UTC, whole milliseconds).
	Received time.Time
	// Modified is when the sender says the file was written; zero if unknown.
	Modified time.Time
	// Beacon is the identity of the beacon that accepted it here.
	Beacon string
	// Via holds the identities of the beacons it passed before, oldest first.
	Via []string
	// Peer is the address it came from.
	Peer string
	// Recovered says that it was sent later than it should have been.
	Recovered bool
	// Released says that a person let it out of quarantine: what it holds is not
	// judged again.
	Released bool
}

// Source is who a held file counts against: the beacon that relayed it, else the
// device it came from, else the address. Two spellings of one device are one
// source.
func (u Upload) Source() string {
	switch {
	case len(u.Via) > 0:
		return "beacon:" + u.Via[len(u.Via)-1]
	case !u.Device.IsZero():
		return "device:" + u.Device.Key().String()
	}
	return "peer:" + u.Peer
}

// Receipt returns the receipt for u as its own beacon gives it.
func (u Upload) Receipt() Receipt {
	return Receipt{
		ID: ReceiptID(u.Kind, u.Name, u.Digest), Kind: u.Kind, Name: u.Name.String(),
		Device: u.Device.Name, Domain: u.Device.Domain, SHA256: u.Digest, Bytes: u.Size,
		Received: u.Received, Beacon: u.Beacon,
		Custody: []Custody{{Level: LevelBeacon, Beacon: u.Beacon, At: u.Received}},
	}
}
