//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"inventorybeacon/uploads"
)

// senders is how many send to a beacon at a time: enough for groups of several
// uploads, few enough that many of them have their own sync.
var senders = map[role]int{beacon: 4, parent: 2}

// load sends to everyone until the returned function is called or ctx is done.
func (s *site) load(ctx context.Context, seed uint64) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for r, n := range senders {
		for i := range n {
			w := &writer{who: fmt.Sprintf("%s%d", r, i), rng: rand.New(rand.NewPCG(seed, uint64(i)))}
			all.Go(func() { w.putAll(ctx, s.upload(r)) })
		}
	}
	refused := &writer{who: "refused", rng: rand.New(rand.NewPCG(seed, 97))}
	all.Go(func() { refused.putRefused(ctx, s.upload(beacon)) })
	w := &writer{who: "agent", rng: rand.New(rand.NewPCG(seed, 99))}
	all.Go(func() { s.fillOutbox(ctx, w) })
	p := &writer{who: "parts", rng: rand.New(rand.NewPCG(seed, 98))}
	all.Go(func() { s.sendParts(ctx, p) })
	all.Go(func() { s.publishAll(ctx) })
	return func() {
		cancel()
		all.Wait()
	}
}

// A writer makes files that differ from all others.
type writer struct {
	who string
	rng *rand.Rand
	n   int
}

// next returns a body: mostly of the size of a small inventory, some of a few
// bytes, and one in eight large enough for a file of its own in the spool.
func (w *writer) next() []byte {
	w.n++
	size := w.rng.IntN(24 << 10)
	switch w.rng.IntN(8) {
	case 0:
		size = segmentBytes/4 + w.rng.IntN(100<<10)
	case 1:
		size = w.rng.IntN(100)
	}
	b := fmt.Appendf(nil, "%s file %d\n", w.who, w.n)
	for len(b) < size {
		b = fmt.Appendf(b, "%016x\n", w.rng.Uint64())
	}
	return b
}

// name is that of the file last made.
func (w *writer) name() string {
	return fmt.Sprintf("%s at 20260101T%06d (cut).log", w.who, w.n)
}

const (
	kind = "Logs" // has no document to be checked
	// refusedKind is of files that the beacon takes and its parent refuses for
	// their size, so that they end in the beacon's quarantine.
	refusedKind  = "Events"
	refusedBytes = 4 << 10
	refusedPace  = 30 * time.Millisecond
)

func (w *writer) putAll(ctx context.Context, root string) {
	client := newClient()
	defer client.CloseIdleConnections()
	for ctx.Err() == nil {
		body := w.next()
		if err := put(ctx, client, root+"/"+kind+"/"+url.PathEscape(w.name()), body); err != nil {
			time.Sleep(50 * time.Millisecond) // it is busy, or is starting
		}
	}
}

func (w *writer) putRefused(ctx context.Context, root string) {
	client := newClient()
	defer client.CloseIdleConnections()
	for ctx.Err() == nil {
		body := append(w.next(), make([]byte, refusedBytes)...)
		name := fmt.Sprintf("%s at 20260101T%06d (cut).ndjson", w.who, w.n)
		// One that does not arrive was promised to nobody.
		_ = put(ctx, client, root+"/"+refusedKind+"/"+url.PathEscape(name), body)
		time.Sleep(refusedPace)
	}
}

func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
}

func put(ctx context.Context, client *http.Client, at string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, at, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// outboxPace leaves the agent time to take some files before the next come.
const outboxPace = 10 * time.Millisecond

// fillOutbox puts files into the agent's outbox, durably, as a careful collector
// does. From then on they must be there, in its spool, or with the beacon.
func (s *site) fillOutbox(ctx context.Context, w *writer) {
	folder := filepath.Join(s.data(agent), "outbox", kind)
	for ctx.Err() == nil {
		body := w.next()
		name := fmt.Sprintf("cut-%d.log", w.n)
		if err := drop(folder, name, body); err == nil {
			s.ledger.note(agent, claim{Kind: kind, Name: name, SHA256: uploads.DigestOf(body)})
		}
		time.Sleep(outboxPace)
	}
}

// drop renames a synced file into a folder and syncs the folder. Its time is a
// while ago, so that the agent does not wait for it to settle.
func drop(folder, name string, body []byte) error {
	temp := filepath.Join(folder, "."+name)
	f, err := os.Create(temp)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	old := time.Now().Add(-time.Minute)
	err = errors.Join(err, os.Chtimes(temp, old, old), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(folder, name)); err != nil {
		return err
	}
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
