package relay_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/backoff"
	"inventorybeacon/uploads/directory"
	"inventorybeacon/uploads/quarantine"
	"inventorybeacon/uploads/relay"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/uploadstest"
)

// A hop is a real spool, relayed into a real directory.
type hop struct {
	*spool.Spool
	dir  string
	sink *directory.Sink
	kept *quarantine.Store
}

func openHop(t testing.TB, dir string) *hop {
	t.Helper()
	h := &hop{dir: dir}
	var err error
	if h.Spool, err = spool.Open(filepath.Join(dir, "spool"), spool.Options{SegmentBytes: 1 << 20, Beacon: "b1", Sinks: []spool.SinkName{{Name: "files", Required: true}}}); err != nil {
		t.Fatal(err)
	}
	if h.sink, err = directory.Open(filepath.Join(dir, "relayed"), directory.Options{}); err != nil {
		t.Fatal(err)
	}
	if h.kept, err = quarantine.Open(filepath.Join(dir, "quarantine"), quarantine.Options{}); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *hop) close(t testing.TB) {
	t.Helper()
	if err := errors.Join(h.Spool.Close(), h.sink.Close(), h.kept.Close()); err != nil {
		t.Error(err)
	}
}

func (h *hop) accept(t testing.TB, device string, n int, data []byte) uploads.Receipt {
	t.Helper()
	u := uploadstest.Upload(t, "Logs", fmt.Sprintf("%s at 20261122T093000 (%d).log", device, n), data)
	r, err := h.Accept(t.Context(), spool.Draft{Kind: u.Kind, Name: u.Name, Device: u.Device, Length: u.Size}, uploadstest.Body(data))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// relayUntil runs a relay until done says so.
func (h *hop) relayUntil(t testing.TB, s uploads.Sink, done func() bool) {
	t.Helper()
	h.relayWith(t, relay.Options{Sink: s}, done)
}

func (h *hop) relayWith(t testing.TB, o relay.Options, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	o.Name, o.Queue, o.Quarantine, o.Backoff = "files", h, h.kept, backoff.Backoff{Min: time.Millisecond, Max: 10 * time.Millisecond}
	r := relay.New(o)
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	for !done() && ctx.Err() == nil {
		backoff.Sleep(ctx, time.Millisecond)
	}
	if ctx.Err() != nil {
		t.Errorf("not done after a minute: %+v", r.Status())
	}
	cancel()
	if err := <-ran; !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
}

func (h *hop) pending() int { return h.Stats().Pending }

func (h *hop) delivered(t testing.TB) int {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(h.dir, "relayed/Incoming/Logs"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return len(files)
}

// flaky fails every third delivery after it was made, as a lost answer does.
type flaky struct {
	uploads.Sink
	n atomic.Int64
}

func (f *flaky) Deliver(ctx context.Context, parcels []uploads.Parcel) []uploads.Delivery {
	out := f.Sink.Deliver(ctx, parcels)
	for i := range out {
		if f.n.Add(1)%3 == 0 {
			out[i].Err = errors.New("the answer was lost")
		}
	}
	return out
}

func TestRelayEmptiesSpoolOnceAcrossRestarts(t *testing.T) {
	dir := t.TempDir()
	const files = 200
	h := openHop(t, dir)
	for i := range files {
		h.accept(t, fmt.Sprintf("PC%d", i%7), i, uploadstest.Noise(1000+i, byte(i)))
	}
	for _, stop := range []int{150, 80, 0} {
		h.relayUntil(t, &flaky{Sink: h.sink}, func() bool { return h.pending() <= stop })
		h.close(t)
		h = openHop(t, dir)
	}
	defer h.close(t)
	if n := h.delivered(t); n != files || h.pending() != 0 {
		t.Errorf("%d files delivered, %d pending; want %d and none", n, h.pending(), files)
	}
}

// refusing takes nothing from one device.
type refusing struct{ uploads.Sink }

func (r refusing) Deliver(ctx context.Context, parcels []uploads.Parcel) []uploads.Delivery {
	var out []uploads.Delivery
	for _, p := range parcels {
		if p.Device.Name == "BAD" {
			out = append(out, uploads.Delivery{Err: fmt.Errorf("%w: smells", uploads.ErrRefused)})
			continue
		}
		out = append(out, r.Sink.Deliver(ctx, []uploads.Parcel{p})...)
	}
	return out
}

// A refused file is in the quarantine, in the loss ledger, and no receipt any
// more; the rest arrives.
func TestRelayQuarantinesFromSpool(t *testing.T) {
	h := openHop(t, t.TempDir())
	defer h.close(t)
	good := h.accept(t, "PC1", 1, []byte("good"))
	h.accept(t, "BAD", 1, []byte("bad"))
	h.relayUntil(t, refusing{h.sink}, func() bool { return h.pending() == 0 })
	kept, err := h.kept.List(false)
	if err != nil || len(kept) != 1 || kept[0].Size != 3 || kept[0].Sink != "files" {
		t.Errorf("quarantine %+v, %v", kept, err)
	}
	if lost := h.Stats().Lost[spool.LossRefused]; lost != 1 || h.delivered(t) != 1 {
		t.Errorf("%d lost, %d delivered", lost, h.delivered(t))
	}
	name, _ := uploads.ParseName(good.Name)
	if r, ok := h.Find("Logs", name); !ok || len(r.Custody) != 2 || r.Custody[1].Level != uploads.LevelStore {
		t.Errorf("receipt of what arrived: %+v, %v", r, ok)
	}
}
