package gate_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/content"
	"inventorybeacon/uploads/content/gate"
	"inventorybeacon/uploads/quarantine"
	"inventorybeacon/uploads/relay"
	"inventorybeacon/uploads/spool"
)

const inventory = `<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE Inventory PUBLIC "Inventory" "http://www.managesoft.com/inventory.dtd">
<Inventory MachineName="%s" Scope="EXAMPLE"><Hardware/></Inventory>`

func zipped(s string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, s)
	w.Close()
	return b.Bytes()
}

// A chain is a spool, a gate with the real check, and a relay into a collection.
type chain struct {
	dir   string
	spool *spool.Spool
	kept  *quarantine.Store

	mu   sync.Mutex
	got  map[string]int
	fail error
}

func (c *chain) Group() int { return 8 }

func (c *chain) Deliver(_ context.Context, parcels []uploads.Parcel) []uploads.Delivery {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]uploads.Delivery, len(parcels))
	for i, p := range parcels {
		if out[i].Err = c.fail; c.fail == nil {
			c.got[p.Name.String()]++
		}
	}
	return out
}

func (c *chain) received(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got[name]
}

func newChain(t *testing.T) *chain {
	c := &chain{dir: t.TempDir(), got: map[string]int{}}
	c.open(t)
	t.Cleanup(func() { c.close(t) })
	return c
}

func (c *chain) open(t *testing.T) {
	t.Helper()
	var err error
	if c.spool, err = spool.Open(filepath.Join(c.dir, "spool"), spool.Options{SegmentBytes: 1 << 20, Beacon: "b", Sinks: []spool.SinkName{{Name: "s", Required: true}}}); err != nil {
		t.Fatal(err)
	}
	if c.kept, err = quarantine.Open(filepath.Join(c.dir, "quarantine"), quarantine.Options{}); err != nil {
		t.Fatal(err)
	}
}

func (c *chain) close(t *testing.T) {
	t.Helper()
	if err := errors.Join(c.spool.Close(), c.kept.Close()); err != nil {
		t.Error(err)
	}
}

// run works until idle says so.
func (c *chain) run(t *testing.T, idle func(*gate.Gate) bool) {
	t.Helper()
	g := gate.New(gate.Options{Queue: c.spool, Sinks: []string{"s"}, Quarantine: c.kept, Check: func(ctx context.Context, u uploads.Upload, body uploads.Body) error {
		return content.Check(ctx, u.Name, body, u.Size, uploads.DefaultMaxBytes)
	}})
	r := relay.New(relay.Options{Name: "s", Queue: g, Sink: c})
	ctx, cancel := context.WithCancel(t.Context())
	var loops sync.WaitGroup
	loops.Go(func() { g.Run(ctx) })
	loops.Go(func() { r.Run(ctx) })
	for deadline := time.Now().Add(30 * time.Second); !idle(g); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still busy: %+v, %+v", g.Stats(), r.Status())
		}
	}
	cancel()
	loops.Wait()
}

func (c *chain) accept(t *testing.T, device, agent string, body []byte) string {
	t.Helper()
	name, err := uploads.FileName(device, time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC), "", ".ndi.gz")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.spool.Accept(t.Context(), spool.Draft{Kind: "Inventories", Name: name, Device: uploads.Device{Name: device}, AgentID: agent, Length: -1}, bytes.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	return name.String()
}

func (c *chain) events(t *testing.T, what spool.What) (out []spool.Event) {
	t.Helper()
	for e, err := range c.spool.Events(0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.What == what {
			out = append(out, e)
		}
	}
	return out
}

func TestBadFilesNeverReachTheSink(t *testing.T) {
	c := newChain(t)
	var good []string
	for i := range 40 {
		device := fmt.Sprint("pc", i)
		good = append(good, c.accept(t, device, "id", zipped(fmt.Sprintf(inventory, device))))
	}
	subset := zipped(strings.Replace(inventory, `"http://www.managesoft.com/inventory.dtd"`, `"x" [<!ENTITY e SYSTEM "file:///etc/passwd">]`, 1))
	ours := c.accept(t, "ours", "id", subset)
	old := c.accept(t, "old", "", subset)
	c.run(t, func(*gate.Gate) bool { return c.spool.Stats().Pending == 0 })
	for _, n := range append(good, old) {
		if c.received(n) != 1 {
			t.Errorf("%s was delivered %d times", n, c.received(n))
		}
	}
	if c.received(ours) != 0 {
		t.Error("what our agent brought was delivered")
	}
	lost, flagged := c.events(t, spool.Lost), c.events(t, spool.Flagged)
	if len(lost) != 1 || lost[0].Upload.Name.String() != ours || lost[0].Reason != spool.LossRefused || !strings.Contains(lost[0].Detail, "internal subset") {
		t.Errorf("losses %+v", lost)
	}
	if len(flagged) != 1 || flagged[0].Upload.Name.String() != old || !strings.Contains(flagged[0].Detail, "internal subset") {
		t.Errorf("flags %+v", flagged)
	}
	kept, err := c.kept.List(false)
	if err != nil || len(kept) != 1 || kept[0].Name.String() != ours || kept[0].Sink != gate.Sink {
		t.Errorf("quarantine %+v, %v", kept, err)
	}
}

// What waits through a restart is checked again, and nothing is recorded twice.
func TestRestartChecksAgain(t *testing.T) {
	c := newChain(t)
	c.fail = errors.New("down")
	text := []byte("no gzip")
	flagged := c.accept(t, "old", "", text)
	ours := c.accept(t, "ours", "id", text)
	u, ok := c.spool.Lookup(2)
	if !ok {
		t.Fatal("no second file")
	}
	body, err := c.spool.Body(2)
	if err != nil {
		t.Fatal(err)
	}
	// The process ended when the file was kept and not yet out of the spool.
	if err := errors.Join(c.kept.Keep(u, body, gate.Sink, "before"), body.Close()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c.run(t, func(g *gate.Gate) bool { return len(g.Keys("s", 0, 9, nil)) == 1 && c.spool.Stats().Pending == 1 })
		c.close(t)
		c.open(t)
	}
	if n := len(c.events(t, spool.Flagged)); n != 1 {
		t.Errorf("flagged %d times", n)
	}
	if lost := c.events(t, spool.Lost); len(lost) != 1 || lost[0].Upload.Name.String() != ours {
		t.Errorf("losses %+v", lost)
	}
	c.fail = nil
	c.run(t, func(*gate.Gate) bool { return c.spool.Stats().Pending == 0 })
	if c.received(flagged) != 1 {
		t.Errorf("the flagged file was delivered %d times", c.received(flagged))
	}
}
