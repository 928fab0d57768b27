package spool_test

import (
	"errors"
	"math/rand/v2"
	"sync"

	"pgregory.net/rapid"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/disk/disktest"
)

func (m *model) closeAndOpen(*rapid.T) {
	if err := m.s.Close(); err != nil {
		m.t.Fatalf("close: %v", err)
	}
	m.open()
}

// operate opens the spool as the commands for a stopped beacon do: it knows no
// destinations, and must change nothing for the beacon that knows them.
func (m *model) operate(t *rapid.T) {
	m.reopenWith(t, spool.Options{SegmentBytes: 64 << 10, Spares: -1})
	m.open()
}

// reconfigure has the spool opened without the destination b for a while: what
// left then stays away.
func (m *model) reconfigure(t *rapid.T) {
	o := m.opts
	o.Sinks = []spool.SinkName{modelSinks[0], modelSinks[2]}
	for _, f := range m.files {
		switch {
		case f.left():
		case f.refused["a"]:
			f.lost = true
		default:
			f.out = f.got["a"]
		}
		f.maybeOut = f.maybeOut || f.maybe["a"]
	}
	m.reopenWith(t, o)
	m.open()
}

// reorder has the destinations configured in another order from now on.
func (m *model) reorder(t *rapid.T) {
	m.end(t)
	m.opts.Sinks = rapid.Permutation(modelSinks).Draw(t, "sinks")
	m.open()
}

// reopenWith ends the run, opens the spool with other options, and ends that.
func (m *model) reopenWith(t *rapid.T, o spool.Options) {
	m.end(t)
	o.Disk = m.mem
	s, err := spool.Open(m.dir, o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	m.s = s
	if lost := s.Recovery().Lost; len(lost) > 0 {
		t.Fatalf("open with %d sinks reports losses: %+v", len(o.Sinks), lost)
	}
	s.WaitTidy()
	m.end(t)
}

// end ends the run in one of the ways there are.
func (m *model) end(t *rapid.T) {
	switch rapid.SampledFrom([]string{"close", "kill", "cut"}).Draw(t, "end") {
	case "close":
		if err := m.s.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
		return
	case "kill":
		m.mem = m.mem.Kill()
	case "cut":
		m.mem = m.mem.Cut(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)))
	}
	m.s.Close()
}

// openAmid lets the program end in the middle of an open, or soon after it,
// again and again.
func (m *model) openAmid(t *rapid.T) {
	m.end(t)
	for range rapid.IntRange(1, 3).Draw(t, "times") {
		m.failFrom(rapid.IntRange(0, 25).Draw(t, "after"))
		m.opts.Disk = m.mem
		s, err := spool.Open(m.dir, m.opts)
		if err == nil {
			s.WaitTidy()
		}
		if rapid.Bool().Draw(t, "power") {
			m.mem = m.mem.Cut(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)))
		} else {
			m.mem = m.mem.Kill()
		}
		if err == nil {
			s.Close()
		}
	}
	m.open()
}

// deliverTogether has both required destinations, and a loss, tell of the same
// files at the same time.
func (m *model) deliverTogether(t *rapid.T) {
	pending := m.s.Pending("a", 0, 100)
	if len(pending) == 0 {
		t.Skip()
	}
	pending = pending[:rapid.IntRange(1, len(pending)).Draw(t, "count")]
	var marks []spool.Mark
	for _, u := range pending {
		marks = append(marks, spool.Mark{Seq: u.Seq, Custody: []uploads.Custody{{Level: uploads.LevelStore, Beacon: "x"}}})
	}
	var lost error
	loses := rapid.Bool().Draw(t, "lose")
	var all sync.WaitGroup
	for _, sink := range []string{"a", "b"} {
		all.Go(func() {
			if err := m.s.Deliver(sink, marks); err != nil {
				panic(err)
			}
		})
	}
	if loses {
		all.Go(func() { lost = m.s.Lose(pending[0].Seq, spool.LossOperator, "a test") })
	}
	all.Wait()
	for i, u := range pending {
		f := m.byUpload(u)
		_, found := m.s.FindExact(kind, u.Name, u.Digest)
		if !found {
			if gaveUp := i == 0 && loses && lost == nil; !gaveUp && !f.refused["b"] && !f.maybeOut && !m.pruned {
				t.Fatalf("%s was delivered and is not known", u.Name)
			}
			f.lost = true
			continue
		}
		f.maybe["x"], f.out = true, true // delivered; custody depends on who was first
	}
}

func (m *model) kill(*rapid.T) {
	m.mem = m.mem.Kill()
	m.s.Close()
	m.open()
}

func (m *model) powerCut(t *rapid.T) {
	seed := rapid.Uint64().Draw(t, "seed")
	m.mem = m.mem.Cut(rand.New(rand.NewPCG(seed, 1)))
	m.s.Close()
	m.open()
}

// spoil makes the disk fail for one operation, an upload or a delivery.
func (m *model) spoil(t *rapid.T) {
	op := rapid.SampledFrom([]disktest.Op{disktest.OpWrite, disktest.OpSync, disktest.OpCreate, disktest.OpSyncDir}).Draw(t, "op")
	skip := rapid.IntRange(0, 3).Draw(t, "skip")
	times := rapid.IntRange(1, 3).Draw(t, "times")
	m.mem.SetFault(func(o disktest.Op, _ string) error {
		if o != op {
			return nil
		}
		if skip--; skip < 0 && skip >= -times {
			return errors.New("spoiled")
		}
		return nil
	})
	m.failing = true
	m.accept(t)
	m.spoilNews(t)
	m.s.WaitTidy()
	m.mem.SetFault(nil)
	m.failing = false
}

// spoilNews has something be told of a file while the disk fails.
func (m *model) spoilNews(t *rapid.T) {
	pending := m.s.Pending("b", 0, 3)
	switch rapid.IntRange(0, 4).Draw(t, "news") {
	case 0:
		m.deliverSome("b", pending)
	case 1:
		for _, u := range pending {
			m.refuseOne("b", u, m.byUpload(u))
		}
	case 2:
		for _, u := range pending {
			m.learnOf(m.byUpload(u), "x")
			if m.s.Flag(u.Seq, "odd") == nil {
				m.byUpload(u).flags["odd"] = true
			}
		}
	}
}

// cutAmid lets the power go in the middle of an upload, a delivery, or what the
// upkeep does about them.
func (m *model) cutAmid(t *rapid.T) {
	m.failing = true
	m.failFrom(rapid.IntRange(0, 25).Draw(t, "after"))
	m.deliverSome("a", m.s.Pending("a", 0, 3))
	m.spoilNews(t)
	m.accept(t)
	m.s.WaitTidy()
	m.failing = false
	m.powerCut(t)
}

// failFrom makes everything fail that changes the disk, after so many operations.
func (m *model) failFrom(after int) {
	m.mem.SetFault(func(op disktest.Op, _ string) error {
		if op != disktest.OpRead && op != disktest.OpOpen {
			if after--; after < 0 {
				return errors.New("no power")
			}
		}
		return nil
	})
}
