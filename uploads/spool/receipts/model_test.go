package receipts_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"inventorybeacon/uploads/spool/disk/disktest"
	"inventorybeacon/uploads/spool/journal"
	"inventorybeacon/uploads/spool/receipts"
)

// A model is what an archive is supposed to know.
type model struct {
	t    *testing.T
	r    *rand.Rand
	mem  *disktest.Memory
	a    *receipts.Archive
	next uint64
	last uint64 // highest number of what Append returned for
	now  time.Time

	sure map[uint64]*receipts.Entry // by upload
	// maybe are entries whose Append failed and ones that are due to be forgotten:
	// they may be there or not, or what they replaced.
	maybe map[uint64][]*receipts.Entry
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{
		t: t, r: rand.New(rand.NewPCG(seed, 0)), mem: disktest.NewMemory(), next: 1, now: time.UnixMilli(1_700_000_000_000).UTC(),
		sure: map[uint64]*receipts.Entry{}, maybe: map[uint64][]*receipts.Entry{},
	}
	m.mem.Mkdir("receipts")
	m.open()
	return m
}

func (m *model) open() {
	a, err := receipts.Open(m.mem, "receipts", receipts.Small(8, 200))
	if err != nil {
		m.t.Fatalf("open: %v", err)
	}
	m.a = a
}

// fresh makes an upload of one of a few names.
func (m *model) fresh(name string, version int) *receipts.Entry {
	e := made(m.t, 1, name, version)
	e.Upload.Seq, e.Upload.Received = m.next, m.now
	e.Marks = []*journal.Mark{{Seq: m.next, Event: m.next + 1, At: m.now, Sink: "up", Left: true}}
	if m.r.IntN(5) == 0 {
		e.Marks[0].Sink, e.Marks[0].Reason = "", "quota"
	}
	m.next += 2
	return e
}

func (m *model) append() {
	var batch []*receipts.Entry
	for range 1 + m.r.IntN(6) {
		e := m.fresh(fmt.Sprintf("f%d.ndi", m.r.IntN(40)), m.r.IntN(4))
		if m.r.IntN(3) == 0 {
			e = m.fresh("often.ndi", int(m.next))
		}
		isRepeat := func(o *receipts.Entry) bool { return id(o) == id(e) && !o.Lost() } // those are not stored
		if !slices.ContainsFunc(m.all(), isRepeat) && !slices.ContainsFunc(batch, isRepeat) {
			batch = append(batch, e)
		}
	}
	if len(m.sure) > 0 && m.r.IntN(3) == 0 {
		batch = append(batch, m.learn())
	}
	m.shuffle(batch)
	m.add(batch)
}

// shuffle moves entries as segments do that are not freed in the order of
// acceptance.
func (m *model) shuffle(batch []*receipts.Entry) {
	m.r.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
}

// learn is an upload of before of which more is known.
func (m *model) learn() *receipts.Entry {
	seqs := slices.Sorted(maps.Keys(m.sure))
	e := *m.sure[seqs[m.r.IntN(len(seqs))]]
	e.Marks = append(slices.Clone(e.Marks), &journal.Mark{Seq: e.Upload.Seq, Event: m.next, At: m.now, Sink: "learnt"})
	m.next++
	return &e
}

func (m *model) add(batch []*receipts.Entry) {
	err := m.a.Append(batch)
	for _, e := range batch {
		seq := e.Upload.Seq
		if err == nil {
			delete(m.maybe, seq)
			m.sure[seq] = e
			m.last = max(m.last, slices.Max(numbers(e)))
			continue
		}
		m.doubt(seq)
		m.maybe[seq] = append(m.maybe[seq], e)
	}
}

// doubt makes what is known of an upload something that may be so.
func (m *model) doubt(seq uint64) {
	if e := m.sure[seq]; e != nil {
		delete(m.sure, seq)
		m.maybe[seq] = append(m.maybe[seq], e)
	}
}

func (m *model) all() []*receipts.Entry {
	return slices.Concat(slices.Collect(maps.Values(m.sure)), slices.Concat(slices.Collect(maps.Values(m.maybe))...))
}

func (m *model) prune() {
	horizon := m.now.Add(-time.Duration(m.r.IntN(60)) * 24 * time.Hour)
	for seq, e := range m.sure {
		if latest(e).Before(horizon) {
			m.doubt(seq)
		}
	}
	_ = m.a.Prune(horizon) // it may be cut short
}

func latest(e *receipts.Entry) time.Time {
	at := e.Upload.Received
	for _, k := range e.Marks {
		if k.At.After(at) {
			at = k.At
		}
	}
	return at
}

// spoil makes one of the next operations fail.
func (m *model) spoil() {
	left := m.r.IntN(30)
	m.mem.SetFault(func(disktest.Op, string) error {
		left--
		if left == 0 {
			return errors.New("no luck")
		}
		return nil
	})
	for range 3 {
		m.append()
	}
	m.mem.SetFault(nil)
	m.a.Forgive()
}

func (m *model) restart() {
	switch m.r.IntN(3) {
	case 0:
		if err := m.a.Close(); err != nil {
			m.t.Fatal(err)
		}
	case 1:
		m.mem = m.mem.Kill()
	case 2:
		m.mem = m.mem.Cut(m.r)
	}
	m.open()
}

func (m *model) check() {
	m.t.Helper()
	if n := m.a.Damaged(); n > 0 {
		m.t.Fatalf("%d damaged", n)
	}
	left := 40 // of those that are looked up, chosen by the map
	for _, e := range m.sure {
		if left--; left < 0 {
			break
		}
		m.checkExact(e)
		m.checkName(e)
	}
	m.checkEvents()
	m.checkLosses()
	if last := m.a.Last(); last < m.last || last >= m.next {
		m.t.Fatalf("last is %d, at least %d is known, next would be %d", last, m.last, m.next)
	}
}

func (m *model) checkExact(e *receipts.Entry) {
	m.t.Helper()
	got, err := m.a.FindExact(id(e))
	if err != nil || got == nil {
		m.t.Fatalf("%s of %d: %v, %v", e.Upload.Name, e.Upload.Seq, got, err)
	}
	want := m.sure[got.Upload.Seq]
	switch {
	case m.maybe[got.Upload.Seq] != nil:
	case want == nil || len(want.Marks) != len(got.Marks) || id(got) != id(e):
		m.t.Fatalf("%s of %d: got %+v", e.Upload.Name, e.Upload.Seq, got.Upload)
	case got.Upload.Seq < e.Upload.Seq && got.Lost():
		m.t.Fatalf("%s of %d: got the earlier %d", e.Upload.Name, e.Upload.Seq, got.Upload.Seq)
	case got.Lost() && !e.Lost():
		m.t.Fatalf("%s: %d is not lost, got %d which is", e.Upload.Name, e.Upload.Seq, got.Upload.Seq)
	}
}

func (m *model) checkName(e *receipts.Entry) {
	m.t.Helper()
	if e.Lost() {
		return
	}
	got, err := m.a.Find(id(e).Name)
	if err != nil || got == nil || got.Lost() || got.Upload.Seq < e.Upload.Seq {
		m.t.Fatalf("newest %s, at least %d: %+v, %v", e.Upload.Name, e.Upload.Seq, got, err)
	}
}

func (m *model) checkEvents() {
	m.t.Helper()
	after := uint64(m.r.IntN(int(m.next)))
	told, before := map[uint64]receipts.Event{}, after
	for e, err := range m.a.Events(after) {
		if err != nil || e.Seq <= before {
			m.t.Fatalf("event %d after %d: %v", e.Seq, before, err)
		}
		before, told[e.Seq] = e.Seq, e
	}
	for seq, e := range m.sure {
		for _, n := range numbers(e) {
			got, ok := told[n]
			if n > after && (!ok || got.Entry.Upload.Seq != seq || got.Mark != nil && got.Mark.Event != n || (got.Mark == nil) != (n == seq)) {
				m.t.Fatalf("event %d of %d: %+v", n, seq, got)
			}
			delete(told, n)
		}
	}
	for n, got := range told {
		if m.maybe[got.Entry.Upload.Seq] == nil {
			m.t.Fatalf("event %d, of which nothing is known: %+v", n, got.Entry.Upload)
		}
	}
}

func numbers(e *receipts.Entry) []uint64 {
	out := []uint64{e.Upload.Seq}
	for _, k := range e.Marks {
		out = append(out, k.Event)
	}
	return out
}

func (m *model) checkLosses() {
	m.t.Helper()
	after, limit := uint64(m.r.IntN(int(m.next))), 1+m.r.IntN(20)
	got, err := m.a.Losses(after, limit)
	if err != nil || len(got) > limit {
		m.t.Fatalf("%d losses, %v", len(got), err)
	}
	var want []uint64
	for _, e := range m.sure {
		if e.Lost() && e.Marks[0].Event > after {
			want = append(want, e.Marks[0].Event)
		}
	}
	slices.Sort(want)
	last := after
	for _, e := range got {
		if e.Seq <= last || e.Mark == nil || !e.Mark.Lost() {
			m.t.Fatalf("loss %d after %d: %+v", e.Seq, last, e)
		}
		last = e.Seq
		for len(want) > 0 && want[0] < e.Seq {
			m.t.Fatalf("loss %d is left out, %d is told", want[0], e.Seq)
		}
		if len(want) > 0 && want[0] == e.Seq {
			want = want[1:]
		}
	}
	if len(got) < limit && len(want) > 0 {
		m.t.Fatalf("losses %v are left out", want)
	}
}

// TestArchiveIsWhatTheModelSays, through faults, power cuts and forgetting.
func TestArchiveIsWhatTheModelSays(t *testing.T) {
	runs := 0
	seeds := uint64(4)
	if os.Getenv("BEACON_TEST_FULL") != "" {
		seeds = 8
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newModel(t, seed)
			for range 150 {
				m.now = m.now.Add(time.Duration(m.r.IntN(12)) * time.Hour)
				switch m.r.IntN(12) {
				case 0:
					m.prune()
				case 1:
					m.spoil()
				case 2:
					m.restart()
				default:
					m.append()
				}
				m.check()
			}
			runs = max(runs, len(m.a.Runs()))
		})
	}
	if runs < 2 {
		t.Errorf("at most %d runs at a time", runs)
	}
}

// TestArchiveSurvivesPowerCutAtEveryStep of filling logs, making and merging runs,
// and forgetting.
func TestArchiveSurvivesPowerCutAtEveryStep(t *testing.T) {
	steps := 0
	for cut := 1; ; cut++ {
		m := newModel(t, 7) // the same every time, up to the cut
		n, dead := 0, false
		m.mem.SetFault(func(op disktest.Op, _ string) error {
			if op != disktest.OpRead && op != disktest.OpOpen {
				n++
			}
			if dead = dead || n >= cut; dead {
				return errors.New("the power is gone")
			}
			return nil
		})
		for i := 0; i < 45 && !dead; i++ {
			m.now = m.now.Add(24 * time.Hour)
			m.append()
			if i%15 == 14 && !dead {
				m.prune()
			}
		}
		if !dead {
			steps = cut
			break
		}
		m.mem = m.mem.Cut(rand.New(rand.NewPCG(uint64(cut), 1)))
		m.open()
		m.check()
		m.append() // and it goes on
		m.append()
		m.check()
	}
	if steps < 200 {
		t.Errorf("only %d steps", steps)
	}
}
