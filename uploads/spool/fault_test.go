package spool_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/disk"
	"inventorybeacon/uploads/spool/disk/disktest"
)

// An oneFault makes one operation of a disk fail: the one that comes after a
// number of others of its sort.
type oneFault struct {
	op  disktest.Op
	err error

	mu    sync.Mutex
	after int
	hit   string // the file it struck
}

func (f *oneFault) strike(op disktest.Op, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if op != f.op {
		return nil
	}
	if f.after--; f.after != -1 {
		return nil
	}
	f.hit = name
	return &fs.PathError{Op: string(op), Path: name, Err: f.err}
}

func (f *oneFault) struck() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hit
}

// A chore is a piece of everything that a spool does, and what must have come of
// it on a disk that fails once.
type chore struct {
	t *testing.T
	m *disktest.Memory
	f *oneFault
	s *spool.Spool

	held   map[string][]byte // by receipt: acknowledged, and nobody tried to end it
	left   map[string]bool   // acknowledged and delivered, or lost if true
	doubt  map[string]bool   // somebody tried to end it and was told of an error
	names  map[string]uploads.Upload
	failed int
}

func choreOptions() spool.Options {
	return spool.Options{
		SegmentBytes: 64 << 10, Beacon: "b1", Recycle: true, Spares: 1,
		Sinks: []spool.SinkName{{Name: "up", Required: true}, {Name: "too"}},
	}
}

// open opens the spool, again if the fault kept it from that.
func (c *chore) open(m *disktest.Memory) {
	c.t.Helper()
	o := choreOptions()
	o.Disk = m
	s, err := spool.Open(c.t.TempDir(), o)
	if err != nil {
		c.failed++
		if s, err = spool.Open(c.t.TempDir(), o); err != nil {
			c.t.Fatalf("the fault is over, and yet: %v", err)
		}
	}
	c.m, c.s = m, s
	c.t.Cleanup(func() { s.Close() })
	if lost := s.Recovery().Lost; len(lost) > 0 {
		c.t.Errorf("recovered with losses: %+v", lost)
	}
}

// accepted takes down what Accept, or Adopt, said.
func (c *chore) accepted(r uploads.Receipt, err error, body []byte) {
	c.t.Helper()
	c.s.WaitTidy()
	if err != nil {
		c.fails(err)
		return
	}
	if r.Duplicate {
		return
	}
	delete(c.left, r.ID) // of what was lost, a repeat is none
	delete(c.doubt, r.ID)
	c.held[r.ID] = body
	n, perr := uploads.ParseName(r.Name)
	if perr != nil {
		c.t.Fatal(perr)
	}
	c.names[r.ID] = uploads.Upload{Kind: r.Kind, Name: n, Digest: r.SHA256}
}

// fails checks an error: only the fault may be its cause, and that there is no
// room must be told from other faults.
func (c *chore) fails(err error) {
	c.t.Helper()
	c.failed++
	if !errors.Is(err, c.f.err) {
		c.t.Errorf("failed for another reason: %v", err)
	}
	if full := errors.Is(err, uploads.ErrFull); full != (c.f.err == disk.ErrFull) {
		c.t.Errorf("ErrFull: %v, for %v", full, err)
	}
}

func (c *chore) accept(i, size int) {
	c.t.Helper()
	body := content(i, size)
	r, err := c.s.Accept(c.t.Context(), draft(c.t, fmt.Sprintf("f%d.ndi", i)), bytes.NewReader(body))
	c.accepted(r, err, body)
}

func (c *chore) adopt(i, size int) {
	c.t.Helper()
	body, file := content(i, size), fmt.Sprintf("unfinished/%d.part", i)
	c.m.Put(file, body)
	r, err := c.s.Adopt(c.t.Context(), draft(c.t, fmt.Sprintf("f%d.ndi", i)), file)
	c.accepted(r, err, body)
}

// ended takes down that files left, or may have.
func (c *chore) ended(err error, lost bool, us ...uploads.Upload) {
	c.t.Helper()
	c.s.WaitTidy()
	if err != nil {
		c.failed++
	}
	for _, u := range us {
		id := uploads.ReceiptID(u.Kind, u.Name, u.Digest)
		delete(c.held, id)
		if err != nil {
			c.doubt[id] = true
		} else {
			delete(c.doubt, id)
			c.left[id] = lost
		}
	}
}

// deliver delivers all but every nth file.
func (c *chore) deliver(nth int) {
	c.t.Helper()
	var us []uploads.Upload
	var marks []spool.Mark
	for i, u := range c.s.Pending("up", 0, 1000) {
		if nth == 0 || i%nth != 0 {
			us = append(us, u)
			marks = append(marks, spool.Mark{Seq: u.Seq, Custody: []uploads.Custody{{Level: uploads.LevelStore, Beacon: "b1"}}})
		}
	}
	c.ended(c.s.Deliver("up", marks), false, us...)
}

// work does a bit of everything, and fills and frees segments meanwhile.
func (c *chore) work(from int) {
	c.t.Helper()
	for i := range 8 {
		c.accept(from+i, 7000+i)
	}
	c.accept(from+8, 40<<10) // in a file of its own
	c.adopt(from+9, 30<<10)
	if p := c.s.Pending("up", 0, 3); len(p) == 3 {
		c.ended(c.s.Refuse("up", p[0].Seq, "never"), true, p[0])
		c.ended(c.s.Lose(p[1].Seq, spool.LossOperator, "by hand"), true, p[1])
		c.told(c.s.Flag(p[2].Seq, "odd"))
		c.told(c.s.Learn(p[2].Kind, p[2].Name, p[2].Digest, []uploads.Custody{{Level: uploads.LevelParent, Beacon: "p"}}))
	}
	c.deliver(5)
	for i := range 12 { // segments with few files left are compacted
		c.accept(from+10+i, 9000)
		if i%4 == 3 {
			c.deliver(9)
		}
	}
	c.accept(from, 7000) // a repeat, or one that failed
}

func (c *chore) told(err error) {
	c.s.WaitTidy()
	if err != nil {
		c.failed++
	}
}

// check compares the spool with what was acknowledged.
func (c *chore) check(when string) {
	c.t.Helper()
	pending := map[string]uint64{}
	for _, u := range c.s.Pending("up", 0, 1000) {
		pending[uploads.ReceiptID(u.Kind, u.Name, u.Digest)] = u.Seq
	}
	for id, body := range c.held {
		if seq, ok := pending[id]; !ok {
			c.t.Errorf("%s: %s was acknowledged and is not held", when, c.names[id].Name)
		} else if !bytes.Equal(read(c.t, c.s, seq), body) {
			c.t.Errorf("%s: %s has other bytes", when, c.names[id].Name)
		}
	}
	for id, lost := range c.left {
		u := c.names[id]
		if _, ok := pending[id]; ok {
			c.t.Errorf("%s: %s left and is back", when, u.Name)
		}
		if _, ok := c.s.FindExact(u.Kind, u.Name, u.Digest); ok == lost {
			c.t.Errorf("%s: %s is known: %v, and was lost: %v", when, u.Name, ok, lost)
		}
	}
}

// run does the chores on a disk that fails once, and returns whether it did.
func (f *oneFault) run(t *testing.T, seed uint64) bool {
	m := disktest.NewMemory()
	c := &chore{t: t, f: f, held: map[string][]byte{}, left: map[string]bool{}, doubt: map[string]bool{}, names: map[string]uploads.Upload{}}
	m.SetFault(f.strike)
	c.open(m)
	c.work(0)
	if err := c.s.Close(); err != nil {
		c.failed++
	}
	c.open(m)
	c.work(100)
	hit := f.struck()
	// The fault is gone, and everything works again without another word.
	before := c.failed
	c.work(200)
	if hit != "" && c.failed > before {
		t.Error("a fault that is over goes on")
	}
	c.check("at once")
	if rand.New(rand.NewPCG(seed, 1)).IntN(2) == 0 {
		c.open(m.Kill())
		c.check("after a kill")
	} else {
		c.open(m.Cut(rand.New(rand.NewPCG(seed, 2))))
		c.check("after a power cut")
	}
	c.deliver(0)
	if n := len(c.s.Pending("up", 0, 1000)); n > 0 {
		t.Errorf("%d files do not leave", n)
	}
	if t.Failed() {
		t.Logf("struck %s of %q", f.op, hit)
	}
	return hit != ""
}

// TestEachDiskFaultLosesNothing: whichever write, sync, rename, open or other change of
// the disk fails, once, nothing that was acknowledged is lost, what left stays
// away, and the spool goes on by itself.
func TestEachDiskFaultLosesNothing(t *testing.T) {
	faults := map[string]error{"EIO": errors.New("input/output error"), "ENOSPC": disk.ErrFull}
	// With half of the faults each there is none that neither of the two strikes.
	step, odd := 2, 0
	if os.Getenv("BEACON_TEST_FULL") == "" {
		step = 8
	}
	for _, op := range []disktest.Op{disktest.OpWrite, disktest.OpSync, disktest.OpRename, disktest.OpOpen, disktest.OpCreate, disktest.OpRemove, disktest.OpSyncDir} {
		for sort, err := range faults {
			odd = (odd + step/2) % step
			first := odd
			t.Run(fmt.Sprintf("%s/%s", op, sort), func(t *testing.T) {
				t.Parallel()
				struck := 0
				for after := first; ; after += step {
					ok := false
					t.Run(fmt.Sprint(after), func(t *testing.T) {
						f := &oneFault{op: op, err: err, after: after}
						ok = f.run(t, uint64(after))
					})
					if !ok {
						break
					}
					struck++
				}
				if struck == 0 && first == 0 {
					t.Error("nothing was struck: this shows nothing")
				}
			})
		}
	}
}
