package spool_test

import (
	"bytes"
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
	before string
}

type modelFile struct {
	name     string
	body     []byte
	receipt  uploads.Receipt
	got      map[string]bool
	lost     bool
	maybe    map[string]bool // deliveries and losses that failed
	maybeOut bool
	out      bool // it left under another configuration
}

var modelSinks = []spool.SinkName{{Name: "a", Required: true}, {Name: "b", Required: true}, {Name: "c"}}

func (f *modelFile) left() bool { return f.lost || f.out || f.got["a"] && f.got["b"] }

func newModel(t *rapid.T, dir string) *model {
	m := &model{t: t, dir: dir, mem: disktest.NewMemory(), files: map[string]*modelFile{}, maybe: map[string]*modelFile{}}
	m.opts = spool.Options{
		SegmentBytes: 64 << 10, Beacon: "b1", Sinks: modelSinks,
		Recycle: rapid.Bool().Draw(t, "recycle"), Spares: 1,
	}
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
	f := &modelFile{
		name: fmt.Sprintf("f%d.ndi", rapid.IntRange(0, 5).Draw(t, "name")),
		body: content(m.n, size), got: map[string]bool{}, maybe: map[string]bool{},
	}
	m.put(f)
}

func (m *model) put(f *modelFile) {
	n, _ := uploads.ParseName(f.name)
	id := uploads.ReceiptID(kind, n, uploads.DigestOf(f.body))
	r, err := m.s.Accept(m.t.Context(), spool.Draft{Kind: kind, Name: n, Length: -1}, bytes.NewReader(f.body))
	old, unsure := m.files[id], m.maybe[id]
	switch {
	case err != nil:
		if old == nil || old.lost {
			f.receipt.ID = id
			m.maybe[id] = f
		}
	case old != nil && !old.lost && !old.maybeOut:
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
	m.put(&modelFile{name: strings.ToUpper(f.name[:1]) + f.name[1:], body: f.body, got: map[string]bool{}, maybe: map[string]bool{}})
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
		} else {
			f.got[sink] = true
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
	if f := m.files[id]; f != nil && (!f.lost || m.maybe[id] == nil) {
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
			if f.got[k.Name] || f.left() {
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
	if f.maybeOut {
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
	last := uint64(0)
	for e, err := range m.s.Events(0) {
		if err != nil {
			m.t.Fatal(err)
		}
		if e.Seq <= last {
			m.t.Fatalf("event %d after %d", e.Seq, last)
		}
		last = e.Seq
		if e.What == spool.Accepted {
			accepted[e.Upload.Receipt().ID]++
		}
	}
	for id, f := range m.files {
		if accepted[id] == 0 {
			m.t.Fatalf("no event for %s", f.name)
		}
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
			"close": m.closeAndOpen, "kill": m.kill, "cut": m.powerCut, "spoil": m.spoil, "amid": m.cutAmid,
			"openAmid": m.openAmid, "operate": m.operate, "reconfigure": m.reconfigure, "together": m.deliverTogether,
			"": func(*rapid.T) { m.check() },
		})
	})
}
