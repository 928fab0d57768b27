package spool_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/disk/disktest"
)

// A model is what a spool is supposed to know.
type model struct {
	t    *rapid.T
	dir  string
	opts spool.Options
	mem  *disktest.Memory
	s    *spool.Spool

	files map[string]*modelFile // by receipt
	// maybe are uploads that failed: they may be there after all.
	maybe  map[string]*modelFile
	n      int
	top    uint64 // the highest number of an event
	before string
	// failing says that the disk is made to fail.
	failing bool
	// prunes says that receipts may be forgotten in this history, pruned that they
	// may have been.
	prunes, pruned bool
}

type modelFile struct {
	name     string
	body     []byte
	receipt  uploads.Receipt
	got      map[string]bool // by sink, and what was learnt
	refused  map[string]bool
	flags    map[string]bool
	lost     bool
	maybe    map[string]bool // deliveries, refusals and losses that failed
	maybeOut bool
	out      bool // it left under another configuration
}

var modelSinks = []spool.SinkName{{Name: "a", Required: true}, {Name: "b", Required: true}, {Name: "c"}}

func (f *modelFile) settled(sink string) bool { return f.got[sink] || f.refused[sink] }

func (f *modelFile) left() bool { return f.lost || f.out || f.settled("a") && f.settled("b") }

func newModelFile(name string, body []byte) *modelFile {
	return &modelFile{
		name: name, body: body,
		got: map[string]bool{}, refused: map[string]bool{}, flags: map[string]bool{}, maybe: map[string]bool{},
	}
}

// settle says that a destination has the file or has refused it. If one that
// must have it refused it, it is lost once both have settled.
func (f *modelFile) settle() {
	if f.settled("a") && f.settled("b") && (f.refused["a"] || f.refused["b"]) {
		f.lost = true
	}
}

func newModel(t *rapid.T, dir string) *model {
	m := &model{t: t, dir: dir, mem: disktest.NewMemory(), files: map[string]*modelFile{}, maybe: map[string]*modelFile{}}
	m.opts = spool.Options{
		SegmentBytes: 64 << 10, Beacon: "b1", Sinks: modelSinks,
		Recycle: rapid.Bool().Draw(t, "recycle"), Spares: 1,
		MaxFiles: rapid.SampledFrom([]int{0, 0, 8}).Draw(t, "files"),
	}
	m.prunes = rapid.IntRange(0, 3).Draw(t, "prunes") == 0
	m.open()
	return m
}

func (m *model) open() {
	m.opts.Disk = m.mem
	m.before = dump(m.mem)
	s, err := spool.Open(m.dir, m.opts)
	if err != nil {
		m.t.Fatalf("open: %v", err)
	}
	m.s = s
	if lost := s.Recovery().Lost; len(lost) > 0 {
		m.t.Fatalf("open reports losses on a disk that lost nothing: %+v\n%s", lost, m.before)
	}
	if n := s.Recovery().DamagedReceipts; n > 0 {
		m.t.Fatalf("open reports %d damaged receipts", n)
	}
	m.check()
}

func (m *model) accept(t *rapid.T) {
	m.n++
	size := rapid.SampledFrom([]int{0, 10, 400, 3000, 12000, 20000}).Draw(t, "size")
	f := newModelFile(fmt.Sprintf("f%d.ndi", rapid.IntRange(0, 5).Draw(t, "name")), content(m.n, size))
	m.put(f, rapid.IntRange(0, 3).Draw(t, "how") == 0)
}

// send gives a file to the spool: as a stream, or as one that lies there.
func (m *model) send(f *modelFile, adopt bool) (uploads.Receipt, error) {
	n, _ := uploads.ParseName(f.name)
	d := spool.Draft{Kind: kind, Name: n, Length: -1}
	if !adopt {
		return m.s.Accept(m.t.Context(), d, bytes.NewReader(f.body))
	}
	const part = "unfinished/x.part"
	m.mem.Put(part, f.body)
	r, err := m.s.Adopt(m.t.Context(), d, part)
	if _, there := m.mem.Find(part); there != (err != nil) && !m.failing {
		m.t.Fatalf("adopted with %v: there %v", err, there)
	}
	m.mem.Delete(part)
	return r, err
}

func (m *model) put(f *modelFile, adopt bool) {
	n, _ := uploads.ParseName(f.name)
	id := uploads.ReceiptID(kind, n, uploads.DigestOf(f.body))
	held := m.s.Stats().Pending
	r, err := m.send(f, adopt)
	if keys := m.s.Held(0, 1000, nil); err == nil && !r.Duplicate && (len(keys) == 0 || keys[len(keys)-1].Seq <= m.top) {
		m.t.Fatalf("%s has no number above %d: %+v", f.name, m.top, keys)
	}
	if errors.Is(err, uploads.ErrFull) {
		if m.opts.MaxFiles == 0 || held < m.opts.MaxFiles {
			m.t.Fatalf("%d files are held: %v", held, err)
		}
		return
	}
	if err == nil && !r.Duplicate && m.opts.MaxFiles > 0 && held >= m.opts.MaxFiles {
		m.t.Fatalf("%d files are held; %d are allowed", held+1, m.opts.MaxFiles)
	}
	old, unsure := m.files[id], m.maybe[id]
	switch {
	case err != nil:
		if old == nil || old.lost || m.forgot(old) {
			f.receipt.ID = id
			m.maybe[id] = f
		}
	case old != nil && !old.lost && !old.maybeOut && !m.forgot(old):
		if !r.Duplicate || !sameReceipt(r, old.receipt) {
			m.t.Fatalf("repeat of %s: %+v, first was %+v", f.name, r, old.receipt)
		}
	case r.Duplicate && unsure == nil && (old == nil || old.lost):
		m.t.Fatalf("new file %s is called a repeat", f.name)
	case r.Duplicate && old != nil: // it was not lost after all
	default:
		f.receipt = r
		m.files[id] = f
		delete(m.maybe, id)
	}
}

func sameReceipt(a, b uploads.Receipt) bool {
	a.Duplicate, b.Duplicate = false, false
	a.Custody, b.Custody = nil, nil
	return fmt.Sprint(a) == fmt.Sprint(b)
}

// repeat sends again something that was sent before.
func (m *model) repeat(t *rapid.T) {
	ids := slices.Sorted(maps.Keys(m.files))
	ids = append(ids, slices.Sorted(maps.Keys(m.maybe))...)
	if len(ids) == 0 {
		t.Skip()
	}
	id := rapid.SampledFrom(ids).Draw(t, "id")
	f := m.files[id]
	if f == nil {
		f = m.maybe[id]
	}
	m.put(newModelFile(strings.ToUpper(f.name[:1])+f.name[1:], f.body), false)
}

func (m *model) deliver(t *rapid.T) {
	sink := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "sink")
	pending := m.s.Pending(sink, 0, 100)
	if len(pending) == 0 {
		t.Skip()
	}
	m.deliverSome(sink, pending[:rapid.IntRange(1, len(pending)).Draw(t, "count")])
}

func (m *model) deliverSome(sink string, pending []uploads.Upload) {
	var marks []spool.Mark
	for _, u := range pending {
		marks = append(marks, spool.Mark{Seq: u.Seq, Custody: []uploads.Custody{{Level: uploads.LevelStore, Beacon: sink}}})
	}
	err := m.s.Deliver(sink, marks)
	for _, u := range pending {
		f := m.byUpload(u)
		if err != nil {
			f.maybe[sink] = true
			f.maybeOut = f.maybeOut || f.refused["a"] || f.refused["b"]
		} else {
			f.got[sink] = true
			f.settle()
		}
	}
}

func (m *model) lose(t *rapid.T) {
	pending := m.s.Pending("a", 0, 100)
	if len(pending) == 0 {
		t.Skip()
	}
	u := rapid.SampledFrom(pending).Draw(t, "upload")
	f := m.byUpload(u)
	if err := m.s.Lose(u.Seq, spool.LossOperator, "a test"); err != nil {
		f.maybeOut = true
	} else {
		f.lost = true
	}
}

func (m *model) byUpload(u uploads.Upload) *modelFile {
	id := u.Receipt().ID
	if f := m.files[id]; f != nil && (!f.lost && !m.forgot(f) || m.maybe[id] == nil) {
		return f
	}
	f := m.maybe[id]
	if f == nil {
		m.t.Fatalf("%s is pending, but was never sent", u.Name)
	}
	// A failed upload that is there counts from now on.
	f.receipt = u.Receipt()
	m.files[id] = f
	delete(m.maybe, id)
	return f
}

// check compares everything the spool tells with the model.
func (m *model) check() {
	m.s.WaitTidy()
	seen := map[string]uint64{}
	for _, k := range modelSinks {
		for _, u := range m.s.Pending(k.Name, 0, 1000) {
			id := u.Receipt().ID
			if s, ok := seen[id]; ok && s != u.Seq {
				m.t.Fatalf("%s is held twice", u.Name)
			}
			seen[id] = u.Seq
			f := m.byUpload(u)
			if f.settled(k.Name) || f.left() {
				m.t.Fatalf("%s is pending for %s, but was delivered or lost (%+v)\n%s", u.Name, k.Name, f, m.before)
			}
			m.checkBody(u, f)
		}
	}
	for id, f := range m.files {
		m.checkFile(id, f, seen)
	}
	m.checkEvents()
}

func (m *model) checkFile(id string, f *modelFile, seen map[string]uint64) {
	n, _ := uploads.ParseName(f.name)
	r, ok := m.s.FindExact(kind, n, uploads.DigestOf(f.body))
	if f.maybeOut || m.forgot(f) {
		return
	}
	if ok == f.lost {
		m.t.Fatalf("%s %s: found %v, lost %v", f.name, id, ok, f.lost)
	}
	if ok && !sameReceipt(r, f.receipt) {
		m.t.Fatalf("%s: receipt %+v, was %+v", f.name, r, f.receipt)
	}
	if want := len(f.got) + 1; ok && len(f.maybe) == 0 && len(r.Custody) != want {
		m.t.Fatalf("%s: custody %+v, want %d entries, got %v out %v\n%s", f.name, r.Custody, want, f.got, f.out, m.before)
	}
	if _, held := seen[id]; !held && !f.left() && len(f.maybe) == 0 {
		m.t.Fatalf("%s was acknowledged and is gone", f.name)
	}
}

func (m *model) checkBody(u uploads.Upload, f *modelFile) {
	b, err := m.s.Body(u.Seq)
	if err != nil {
		m.t.Fatalf("body of %s: %v", u.Name, err)
	}
	defer b.Close()
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, f.body) {
		m.t.Fatalf("body of %s: %d bytes, want %d (%v)", u.Name, len(got), len(f.body), err)
	}
}

func (m *model) checkEvents() {
	accepted := map[string]int{}
	flags := map[string]map[string]int{}
	var lost []uint64
	last := uint64(0)
	for e, err := range m.s.Events(0) {
		if err != nil {
			m.t.Fatal(err)
		}
		if e.Seq <= last {
			m.t.Fatalf("event %d after %d", e.Seq, last)
		}
		last = e.Seq
		id := e.Upload.Receipt().ID
		switch e.What {
		case spool.Accepted:
			accepted[id]++
		case spool.Flagged:
			if flags[id] == nil {
				flags[id] = map[string]int{}
			}
			flags[id][e.Detail]++
		case spool.Lost:
			lost = append(lost, e.Seq)
		}
	}
	m.top = max(m.top, last)
	m.checkLosses(lost)
	for id, f := range m.files {
		if m.forgot(f) || m.pruned && f.maybeOut {
			continue
		}
		if accepted[id] == 0 {
			m.t.Fatalf("no event for %s", f.name)
		}
		for flag := range m.files[id].flags {
			if flags[id][flag] == 0 {
				m.t.Fatalf("%s was flagged %q; the events tell of %v %+v\n%s\nnow\n%s", f.name, flag, flags[id], f, m.before, dump(m.mem))
			}
		}
	}
}

func (m *model) checkLosses(want []uint64) {
	var got []uint64
	for after := uint64(0); ; {
		page, err := m.s.Losses(after, 3)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, e := range page {
			got = append(got, e.Seq)
			after = e.Seq
		}
		if len(page) < 3 {
			break
		}
	}
	if m.pruned { // receipts may have been forgotten between the two
		want = slices.DeleteFunc(want, func(seq uint64) bool { return !slices.Contains(got, seq) })
	}
	if !slices.Equal(got, want) {
		m.t.Fatalf("losses %v, of events %v\n%s", got, want, m.before)
	}
}

// TestSpoolAgreesWithModel runs random histories, with crashes and a failing
// disk, against a model that knows no disk.
func TestSpoolAgreesWithModel(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t, dir)
		defer func() { m.s.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"accept": m.accept, "accept2": m.accept, "accept3": m.accept, "repeat": m.repeat,
			"deliver": m.deliver, "deliver2": m.deliver, "lose": m.lose,
			"flag": m.flag, "refuse": m.refuse, "learn": m.learn, "learn2": m.learn,
			"supersede": m.supersede, "prune": m.prune, "reorder": m.reorder,
			"close": m.closeAndOpen, "kill": m.kill, "cut": m.powerCut, "spoil": m.spoil, "amid": m.cutAmid,
			"openAmid": m.openAmid, "operate": m.operate, "reconfigure": m.reconfigure, "together": m.deliverTogether,
			"": func(*rapid.T) { m.check() },
		})
	})
}
