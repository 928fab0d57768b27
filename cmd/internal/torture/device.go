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
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/backoff"
	"inventorybeacon/uploads/parent"
	"inventorybeacon/uploads/stall"
)

// ward is the device whose objects the store holds back now and then, so that
// segments stay in which other files have long been delivered.
const ward = "ward"

// A device sends files one after the other until it has a receipt for each.
type device struct {
	name   string
	rng    *rand.Rand
	client *parent.Client
	at     parent.Location
	ledger *ledger
	pause  time.Duration // between two files, on average
	n      int
	wrong  error // what no beacon may do
}

// partsFrom is from which size on half of the devices send in parts.
const partsFrom = 48 << 10

func newDevice(name string, n int, seed uint64, root string, l *ledger) *device {
	d := &device{name: name, rng: rand.New(rand.NewPCG(seed, uint64(n))), at: parent.Location{Name: "leaf", Root: root}, ledger: l, pause: 250 * time.Millisecond}
	d.client = &parent.Client{HTTP: &http.Client{Transport: parent.NewTransport()}, Limits: stall.Limits{Idle: 5 * time.Second, Answer: 10 * time.Second}}
	if n%2 == 0 {
		d.client.Resume = &parent.Resuming{Threshold: partsFrom}
	}
	return d
}

// run sends until ctx is done.
func (d *device) run(ctx context.Context) {
	for ctx.Err() == nil && d.wrong == nil {
		u, body := d.next()
		if !d.send(ctx, u, body) {
			continue
		}
		switch d.rng.IntN(16) {
		case 0: // as one that forgot that it has the receipt
			d.send(ctx, u, body)
		case 1: // other bytes under the name, which are another file
			d.send(ctx, d.upload(u.Name, append(body, "more"...)), append(body, "more"...))
		}
		backoff.Sleep(ctx, rand.N(2*d.pause))
	}
}

// next makes a file: most are small, one in eight has a file of its own in a
// spool, and some are empty.
func (d *device) next() (uploads.Upload, []byte) {
	d.n++
	size := d.rng.IntN(12 << 10)
	switch d.rng.IntN(24) {
	case 0, 1, 2:
		size = segmentBytes/2 + d.rng.IntN(80<<10)
	case 3:
		size = d.rng.IntN(40)
	}
	body := fmt.Appendf(nil, "%s file %d\n", d.name, d.n)
	for len(body) < size {
		body = fmt.Appendf(body, "%016x\n", d.rng.Uint64())
	}
	suffix := []string{".log", ".txt"}[d.rng.IntN(2)]
	name, err := uploads.ParseName(fmt.Sprintf("%s at 202601%02dT%06d%s", d.name, 1+d.n/240000, d.n%240000, suffix))
	if err != nil {
		panic(err) // the names are ours
	}
	return d.upload(name, body), body
}

func (d *device) upload(name uploads.Name, body []byte) uploads.Upload {
	return uploads.Upload{Kind: "Logs", Name: name, Digest: uploads.DigestOf(body), Size: int64(len(body)), AgentID: d.name}
}

// giveUp is how many failed attempts in a hundred a device makes its last.
const giveUp = 2

// patience is the longest that a device waits because a beacon asks it to.
const patience = 300 * time.Millisecond

// send tries until there is a receipt, or the device gives up: then nobody
// promised anything.
func (d *device) send(ctx context.Context, u uploads.Upload, body []byte) bool {
	for {
		r, err := d.client.Put(ctx, d.at, u, func() (uploads.Body, error) { return reader{bytes.NewReader(body)}, nil })
		if err == nil {
			d.wrong = d.ledger.note(u, r)
			return true
		}
		if ctx.Err() != nil || d.rng.IntN(100) < giveUp {
			return false
		}
		if errors.Is(err, uploads.ErrRefused) {
			d.wrong = fmt.Errorf("%s is refused: %w", u.Name, err)
			return false
		}
		backoff.Sleep(ctx, rand.N(patience))
	}
}

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

var _ io.ReaderAt = reader{}
