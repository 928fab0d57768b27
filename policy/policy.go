// Package policy is about what agents are told.
//
// Administrators write bundles. Every publication of one is a [Revision] of
// the whole set, and what a device is told follows from that set and from
// nothing else:
//
//	bundle -> revision -> snapshot -> the documents of one device
//
// This package holds the model and decides which bundle wins; it touches
// neither disk nor network. Reading bundles, keeping revisions, watching the
// drop folder and the documents' formats are sub-packages.
package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Errors that callers act on. Anything else is an I/O failure: retry.
var (
	// ErrNone means no bundle applies to the device: it is told nothing, which
	// is not the same as being told to do nothing.
	ErrNone = errors.New("no bundle applies to this device")
	// ErrNoFile means no file of that name is published.
	ErrNoFile = errors.New("no such file")
	// ErrMirror means this beacon follows a publisher and publishes nothing itself.
	ErrMirror = errors.New("this beacon mirrors another publisher")
	// ErrOlder means what was offered is older than what is in force.
	ErrOlder = errors.New("older than the revision in force")
	// ErrNoBundle means no bundle of that name is in force.
	ErrNoBundle = errors.New("no such bundle")
	// ErrTooNew means a newer version wrote the data; nothing was changed.
	ErrTooNew = errors.New("written by a newer version")
)

// A Query is what a request says about the device that sent it.
type Query struct {
	Domain, Device string
	// Ours is set for our own agent (?agent=1), which is offered what an old
	// agent must never see: formats of our own.
	Ours     bool
	OS, Arch string     // empty: no platform matches
	Address  netip.Addr // as the beacon sees it; the zero Addr matches no network
}

// A Revision is one publication of the whole set of bundles. Numbers only
// grow within an epoch, and epochs within a publisher.
type Revision struct {
	Publisher string    `json:"publisher"` // made once, at random
	Epoch     uint64    `json:"epoch"`
	Number    uint64    `json:"number"` // zero: nothing was ever published
	Created   time.Time `json:"created,omitzero"`
	By        string    `json:"by,omitzero"` // who or what published it
	Comment   string    `json:"comment,omitzero"`
}

// IsZero reports whether nothing was ever published.
func (r Revision) IsZero() bool { return r.Number == 0 }

// After reports whether r is newer than o of the same publisher.
func (r Revision) After(o Revision) bool {
	if r.Epoch != o.Epoch {
		return r.Epoch > o.Epoch
	}
	return r.Number > o.Number
}

// String returns "7", or "2.7" once there was more than one epoch.
func (r Revision) String() string {
	if r.Epoch > 1 {
		return fmt.Sprintf("%d.%d", r.Epoch, r.Number)
	}
	return fmt.Sprint(r.Number)
}
