//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"inventorybeacon/policy/revision"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/resumable"
	"inventorybeacon/uploads/spool"
)

// examineBeacon looks for every claim in the spool, or, where the spool says
// that it was delivered, where it was delivered to.
func examineBeacon(q *question, a *answer) {
	s := openSpool(q, a, spool.Options{SegmentBytes: segmentBytes, Recycle: true, Spares: -1})
	if s == nil {
		return
	}
	defer s.Close()
	held := heldIn(s, a)
	there := q.Above
	if q.Role == parent {
		there = filesBelow(filepath.Join(q.Data, relayedDir), a)
	}
	quarantined := filesBelow(filepath.Join(q.Data, "quarantine"), a)
	for _, c := range q.Claims {
		name, err := uploads.ParseName(c.Name)
		if err != nil {
			a.fault("%v", err)
			continue
		}
		if c.Kind == refusedKind && quarantined[c.SHA256] {
			a.Quarantined++
			continue
		}
		_, known := s.FindExact(c.Kind, name, c.SHA256)
		switch {
		case !known:
			a.lost(c, "the spool does not know it")
		case held[c.SHA256]:
			a.Held++
		case there[c.SHA256]:
			a.Gone++
		default:
			a.lost(c, "the spool says it was delivered, and it was not")
		}
	}
	examineParts(q, a, s)
	examineCatalogue(q, a, s)
	examinePolicy(q, a)
}

// examineParts looks for what had come of unfinished uploads; one may have been
// finished and not have been acknowledged yet.
func examineParts(q *question, a *answer, s *spool.Spool) {
	store, found, err := resumable.Open(filepath.Join(q.Data, "spool"), resumable.Options{MaxAge: 24 * time.Hour})
	if err != nil {
		a.fault("the unfinished uploads do not open: %v", err)
		return
	}
	defer store.Close()
	if len(found.Unknown) > 0 {
		a.fault("unknown files among the unfinished uploads: %q", found.Unknown)
	}
	for _, p := range q.Parts {
		name, err := uploads.ParseName(p.Name)
		if err != nil {
			a.fault("%v", err)
			continue
		}
		if st, err := store.Look(p.ID, time.Now()); err == nil && !st.Complete && st.Offset >= p.Offset {
			continue
		}
		// Complete or gone, it must be in the spool.
		if _, whole := s.FindExact(p.Kind, name, p.SHA256); !whole {
			a.lost(p.claim, fmt.Sprintf("%d bytes of it had come, and are gone", p.Offset))
		}
	}
}

// examinePolicy looks for the revision that was in force.
func examinePolicy(q *question, a *answer) {
	store, err := revision.Open(filepath.Join(q.Data, "policy"), revision.Options{})
	if err != nil {
		a.fault("the policy store does not open: %v", err)
		return
	}
	defer store.Close()
	if err := store.Damage(); err != nil {
		a.fault("the policy store is damaged: %v", err)
	}
	if has := store.Current().Revision().Number; has < q.Revision {
		a.Lost = append(a.Lost, fmt.Sprintf("revision %d was published; %d is in force", q.Revision, has))
	}
}

// openSpool opens the spool. A cut of the power alone is no reason for anything
// acknowledged to be unreadable, nor for files that nobody knows.
func openSpool(q *question, a *answer, o spool.Options) *spool.Spool {
	o.Sinks = []spool.SinkName{{Name: sinkName, Required: true}}
	s, err := spool.Open(filepath.Join(q.Data, "spool"), o)
	if err != nil {
		a.fault("the spool does not open: %v", err)
		for _, c := range q.Claims {
			if !q.Above[c.SHA256] {
				a.lost(c, "the spool does not open")
			}
		}
		return nil
	}
	found := s.Recovery()
	for _, e := range found.Lost {
		a.Lost = append(a.Lost, fmt.Sprintf("number %d (%s) was acknowledged, and the spool finds it unreadable: %s", e.Upload.Seq, e.Upload.Name, e.Detail))
	}
	if found.DamagedReceipts > 0 || len(found.Unknown) > 0 {
		a.fault("%d receipts damaged, unknown files %q", found.DamagedReceipts, found.Unknown)
	}
	return s
}

// heldIn returns the files that the spool holds, having read each.
func heldIn(s *spool.Spool, a *answer) map[uploads.Digest]bool {
	held := map[uploads.Digest]bool{}
	for _, u := range s.Pending(sinkName, 0, 1<<30) {
		body, err := s.Body(u.Seq)
		if err == nil {
			_, err = io.Copy(io.Discard, uploads.Verify(body, u.Size, u.Digest))
			err = errors.Join(err, body.Close())
		}
		if err != nil {
			a.fault("%s is held and unreadable: %v", u.Name, err)
			continue
		}
		held[u.Digest] = true
	}
	return held
}

// filesBelow returns what lies in a folder. Files there may be half written.
func filesBelow(dir string, a *answer) map[uploads.Digest]bool {
	found := map[uploads.Digest]bool{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		found[uploads.DigestOf(b)] = true
		return err
	})
	if err != nil {
		a.fault("%v", err)
	}
	return found
}
