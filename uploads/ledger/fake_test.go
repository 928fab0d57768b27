package ledger

import (
	"cmp"
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
)

// began is when the tests' losses begin.
var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fake is a spool in memory, which holds what it accepted until it is told to let
// go.
type fake struct {
	mu       sync.Mutex
	losses   []spool.Event
	accepted []spool.Draft
	bodies   []string
	held     map[uploads.Digest]bool
	observe  func(spool.Event)
	fail     error // of Accept, before it takes anything
	failLate error // of Accept, after it took the file

	superseded    int
	failSupersede error
}

func (f *fake) Losses(after uint64, limit int) ([]spool.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, _ := slices.BinarySearchFunc(f.losses, after+1, func(e spool.Event, seq uint64) int { return cmp.Compare(e.Seq, seq) })
	return slices.Clone(f.losses[at:min(len(f.losses), at+limit)]), nil
}

func (f *fake) Accept(_ context.Context, d spool.Draft, body io.Reader) (uploads.Receipt, error) {
	b, err := io.ReadAll(body)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err = errors.Join(err, f.fail); err != nil {
		return uploads.Receipt{}, err
	}
	r := uploads.Receipt{SHA256: uploads.DigestOf(b)}
	for i, old := range f.accepted {
		r.Duplicate = r.Duplicate || old.Name == d.Name && f.bodies[i] == string(b)
	}
	if !r.Duplicate {
		f.accepted, f.bodies = append(f.accepted, d), append(f.bodies, string(b))
		f.held[r.SHA256] = true
	}
	return r, f.failLate
}

func (f *fake) HeldExact(_ string, _ uploads.Name, d uploads.Digest) (uploads.Upload, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return uploads.Upload{}, f.held[d]
}

func (f *fake) Supersede(uint64, string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.superseded++
	clear(f.held) // of which there is one
	return f.failSupersede
}

// lose adds a loss and tells of it.
func (f *fake) lose(t *testing.T, u uploads.Upload, at time.Time) {
	t.Helper()
	f.mu.Lock()
	seq := uint64(10)
	if n := len(f.losses); n > 0 {
		seq = f.losses[n-1].Seq + 3
	}
	if u.Name.IsZero() {
		u = upload(t, "ws1 at 20260301T110000.log")
	}
	u.Seq, u.Received = seq-1, at.Add(-time.Hour)
	e := spool.Event{Seq: seq, What: spool.Lost, At: at, Upload: u, Reason: spool.LossQuota, Detail: "room was needed", Left: true}
	f.losses = append(f.losses, e)
	observe := f.observe
	f.mu.Unlock()
	if observe != nil {
		observe(e)
	}
}

// deliver lets go of every report.
func (f *fake) deliver() {
	f.mu.Lock()
	clear(f.held)
	observe := f.observe
	f.mu.Unlock()
	if observe != nil {
		observe(spool.Event{What: spool.Delivered, Left: true, Upload: uploads.Upload{Kind: Kind}})
	}
}

func (f *fake) reports() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for i, d := range f.accepted {
		losses, err := Read(strings.NewReader(f.bodies[i]))
		if err != nil {
			return []string{err.Error()}
		}
		var s strings.Builder
		s.WriteString(d.Name.String() + ":")
		for _, l := range losses {
			s.WriteString(" " + l.Name)
		}
		out = append(out, s.String())
	}
	return out
}

func upload(t *testing.T, name string) uploads.Upload {
	t.Helper()
	n, err := uploads.ParseName(name)
	if err != nil {
		t.Fatal(err)
	}
	return uploads.Upload{Kind: "Logs", Name: n, Digest: uploads.DigestOf([]byte(name)), Size: 5, Peer: "192.0.2.1"}
}

func fakeSpool() *fake { return &fake{held: map[uploads.Digest]bool{}} }

func teller(t *testing.T, f *fake, file string) *Teller {
	t.Helper()
	tell, err := New(Options{Spool: f, File: file, Identity: "edge-1"})
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.observe = tell.Observe
	f.mu.Unlock()
	return tell
}

func stateFile(t *testing.T) string { return filepath.Join(t.TempDir(), "ledger.json") }
