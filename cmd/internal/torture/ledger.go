//go:build linux

package main

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/objectstore"
)

// A claim is a file that was acknowledged: it was promised to reach the store.
type claim struct {
	kind    string
	name    uploads.Name
	digest  uploads.Digest
	receipt string
}

// A ledger is what was promised, and what is known to be fulfilled.
type ledger struct {
	mu      sync.Mutex
	claims  map[string]claim          // by receipt
	keys    map[string]uploads.Upload // claims by the key of their object
	repeats int
	// settled says since when a beacon knows that the store has the object with a
	// key: it must not send it again.
	settled map[string]time.Time
	doubles map[string]string // what was doubled, and how
}

func newLedger() *ledger {
	return &ledger{claims: map[string]claim{}, keys: map[string]uploads.Upload{}, settled: map[string]time.Time{}, doubles: map[string]string{}}
}

// note takes down an acknowledged upload. A sender knows whether it had been
// acknowledged before.
func (l *ledger) note(u uploads.Upload, r uploads.Receipt) error {
	want := uploads.ReceiptID(u.Kind, u.Name, u.Digest)
	if r.ID != want {
		return fmt.Errorf("%s/%s got the receipt %s, and not %s", u.Kind, u.Name, r.ID, want)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, again := l.claims[want]; again {
		l.repeats++
		if !r.Duplicate {
			l.doubles[want] = fmt.Sprintf("%s/%s was sent again and taken for a new file", u.Kind, u.Name)
		}
	}
	l.claims[want] = claim{u.Kind, u.Name, u.Digest, want}
	u.Device = uploads.Device{Domain: r.Domain, Name: r.Device}
	l.keys[objectstore.Key("", u)] = u
	return nil
}

// stored returns the acknowledged file that an object is.
func (l *ledger) stored(key string) (u uploads.Upload, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u, ok = l.keys[key]
	return u, ok
}

func (l *ledger) settle(key string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settled[key] = at
}

// sent is told of each request for an object to be stored.
func (l *ledger) sent(key string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if since, ok := l.settled[key]; ok && at.After(since) {
		l.doubles[key] = fmt.Sprintf("%s was sent again %v after it was known to be in the store", key, at.Sub(since).Round(time.Millisecond))
	}
}

func (l *ledger) counts() (claims, repeats, settled, doubles int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.claims), l.repeats, len(l.settled), len(l.doubles)
}

// doubled is for the end: what is in the bucket twice is among them.
func (l *ledger) doubled(receipt, how string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doubles[receipt] = how
}

func (l *ledger) snapshot() (claims []claim, doubles []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.claims)), slices.Sorted(maps.Values(l.doubles))
}
