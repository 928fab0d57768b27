package spool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/disk/disktest"
)

func deliverAll(t testing.TB, s *spool.Spool, sink string) {
	t.Helper()
	var marks []spool.Mark
	for _, u := range s.Pending(sink, 0, 1<<20) {
		marks = append(marks, spool.Mark{Seq: u.Seq})
	}
	if err := s.Deliver(sink, marks); err != nil {
		t.Fatal(err)
	}
}

// TestFileLeavesWhenRequiredSinksHaveIt: optional ones that have not are
// counted as skipped; kinds that nobody is required to take need all who do.
func TestFileLeavesWhenRequiredSinksHaveIt(t *testing.T) {
	o := small()
	o.Sinks = []spool.SinkName{
		{Name: "a", Required: true}, {Name: "b", Required: true, Kinds: []string{kind}},
		{Name: "c"}, {Name: "logs", Kinds: []string{"Logs"}},
	}
	dir := t.TempDir()
	s := open(t, dir, o)
	accept(t, s, "f.ndi", content(1, 100))
	pending := func(sink string) int { return len(s.Pending(sink, 0, 10)) }
	if pending("a") != 1 || pending("b") != 1 || pending("c") != 1 || pending("logs") != 0 || pending("nobody") != 0 {
		t.Fatalf("stats %+v", s.Stats())
	}
	deliverAll(t, s, "a")
	for range 2 {
		if pending("a") != 0 || pending("b") != 1 || pending("c") != 1 {
			t.Fatalf("stats %+v", s.Stats())
		}
		s = reopen(t, s, dir, o)
	}
	deliverAll(t, s, "b")
	if st := s.Stats(); pending("b") != 0 || pending("c") != 0 || st.Pending != 0 || st.Sinks["c"].Skipped != 1 || st.PendingBytes != 0 {
		t.Fatalf("stats %+v", st)
	}
	if _, err := s.Body(1); !errors.Is(err, uploads.ErrUnknown) {
		t.Errorf("Body = %v", err)
	}
	// What left has left, whatever sinks are added later.
	o.Sinks = append(o.Sinks, spool.SinkName{Name: "new", Required: true})
	s = reopen(t, s, dir, o)
	if st := s.Stats(); st.Pending != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestPendingGoesOnBehindTheLast(t *testing.T) {
	s := open(t, t.TempDir(), small())
	fill(t, s, 0, 200, 10)
	var seqs []uint64
	for after := uint64(0); ; {
		page := s.Pending("up", after, 7)
		if len(page) == 0 {
			break
		}
		for _, u := range page {
			seqs = append(seqs, u.Seq)
			after = u.Seq
		}
		if err := s.Deliver("up", []spool.Mark{{Seq: page[0].Seq}, {Seq: page[len(page)-1].Seq}, {Seq: 1 << 40}}); err != nil {
			t.Fatal(err)
		}
	}
	if len(seqs) != 200 || !slices.IsSorted(seqs) {
		t.Errorf("%d files, sorted %v", len(seqs), slices.IsSorted(seqs))
	}
}

func TestAddedTellsOfNewFiles(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	select {
	case <-s.Added("up"):
		t.Error("an empty spool has news")
	default:
	}
	accept(t, s, "f.ndi", nil)
	select {
	case <-s.Added("up"):
	default:
		t.Error("no token for a new file")
	}
	s = reopen(t, s, dir, small())
	select {
	case <-s.Added("up"):
	default:
		t.Error("no token for what was there")
	}
}

// TestEventsTellEverythingOnce, in order, before and after the segments are
// freed, and as they were observed.
func TestEventsTellEverythingOnce(t *testing.T) {
	var mu sync.Mutex
	var observed []spool.Event
	o := recycling()
	o.Observe = func(e spool.Event) {
		mu.Lock()
		defer mu.Unlock()
		observed = append(observed, e)
	}
	dir := t.TempDir()
	s := open(t, dir, o)
	fill(t, s, 0, 20, 10<<10)
	if err := s.Lose(3, spool.LossOperator, "by hand"); err != nil {
		t.Fatal(err)
	}
	deliverAll(t, s, "up")
	fill(t, s, 20, 60, 10<<10)
	deliverAll(t, s, "up")
	fill(t, s, 100, 2, 10)
	s.WaitTidy()
	for range 2 {
		if s.Stats().Receipts == 0 {
			t.Error("no segment was freed")
		}
		var told []spool.Event
		for e, err := range s.Events(0) {
			if err != nil {
				t.Fatal(err)
			}
			told = append(told, e)
		}
		if len(told) != 82+80 || fmt.Sprint(told) != fmt.Sprint(observed) {
			t.Errorf("%d events told, %d observed", len(told), len(observed))
		}
		rest := 0
		for e, err := range s.Events(told[100].Seq) {
			if err != nil || e.Seq != told[101+rest].Seq {
				t.Fatalf("event %d, %v; want %d", e.Seq, err, told[101+rest].Seq)
			}
			rest++
		}
		s = reopen(t, s, dir, o)
	}
}

// outbox is an agent's: bounded, inventory keeps the newest, usage goes last.
func outbox() spool.Options {
	o := small()
	o.MaxBytes, o.MaxAge = 20000, time.Hour
	o.GiveUp = func(u uploads.Upload, newest bool) int {
		switch {
		case u.Kind == "UsageData":
			return 2
		case newest:
			return -1
		}
		return 0
	}
	return o
}

func TestBoundedSpoolGivesUpInOrder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, outbox())
	put := func(k, file string, size int) error {
		d := draft(t, file)
		d.Kind = k
		_, err := s.Accept(t.Context(), d, bytes.NewReader(content(len(file), size)))
		return err
	}
	for _, f := range []struct{ kind, name string }{{kind, "old.ndi"}, {"UsageData", "u.mmi"}, {kind, "newer.ndi"}, {kind, "newest.ndi"}} {
		if err := put(f.kind, f.name, 5000); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"old.ndi", "newer.ndi", "u.mmi"}
	for i, name := range []string{"a.log", "b.log", "c.log"} {
		if err := put([]string{"A", "B", "C"}[i], name, 5000); err != nil {
			t.Fatal(err)
		}
	}
	if err := put("D", "d.log", 5000); !errors.Is(err, uploads.ErrFull) {
		t.Errorf("with nothing left to give up: %v", err)
	}
	var lost []string
	for e := range s.Events(0) {
		if e.What == spool.Lost {
			lost = append(lost, e.Upload.Name.String())
			if e.Reason != spool.LossQuota || !e.Left {
				t.Errorf("loss %+v", e)
			}
		}
	}
	if !slices.Equal(lost, want) {
		t.Errorf("gave up %q, want %q", lost, want)
	}
	if st := s.Stats(); st.Lost[spool.LossQuota] != 3 || st.PendingBytes != 20000 {
		t.Errorf("stats %+v", st)
	}
	if err := s.Deliver("up", []spool.Mark{{Seq: s.Pending("up", 0, 1)[0].Seq}}); err != nil {
		t.Fatal(err)
	}
	if err := put("D", "d.log", 5000); err != nil {
		t.Errorf("after a delivery: %v", err)
	}
}

func TestExpireGivesUpTheOld(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		o := outbox()
		o.Disk = disktest.NewMemory()
		s := open(t, dir, o)
		defer s.Close()
		fill(t, s, 0, 2, 10)
		time.Sleep(40 * time.Minute)
		fill(t, s, 2, 2, 10)
		if err := s.Expire(time.Now()); err != nil || len(s.Pending("up", 0, 10)) != 4 {
			t.Errorf("too early: %v", err)
		}
		time.Sleep(30 * time.Minute)
		if err := s.Expire(time.Now()); err != nil {
			t.Fatal(err)
		}
		left := s.Pending("up", 0, 10)
		if len(left) != 2 || left[0].Name.String() != "f2.ndi" || s.Stats().Lost[spool.LossAge] != 2 {
			t.Errorf("left %v, stats %+v", left, s.Stats())
		}
	})
}

// TestPinnedSegmentIsCompacted: a few old files do not keep whole segments, and
// keep their number, bytes and progress.
func TestPinnedSegmentIsCompacted(t *testing.T) {
	o := recycling()
	o.Sinks = append(o.Sinks, spool.SinkName{Name: "second", Required: true})
	m := disktest.NewMemory()
	s := onMemory(t, m, o)
	accept(t, s, "stuck.ndi", content(1, 3000))
	if err := s.Deliver("second", []spool.Mark{{Seq: 1, Custody: []uploads.Custody{{Level: uploads.LevelStore, Beacon: "x"}}}}); err != nil {
		t.Fatal(err)
	}
	for round := range 6 {
		fill(t, s, round*100, 60, 10<<10)
		for _, sink := range []string{"up", "second"} {
			for _, u := range s.Pending(sink, 1, 1000) {
				if err := s.Deliver(sink, []spool.Mark{{Seq: u.Seq}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		s.WaitTidy()
	}
	if st := s.Stats(); st.Segments > 5 {
		t.Errorf("one file of 3000 bytes keeps %d segments", st.Segments)
	}
	for i := range 4 {
		c := m.Kill()
		if i > 0 {
			c = m.Cut(rand.New(rand.NewPCG(uint64(i), 0)))
		}
		s := onMemory(t, c, o)
		pending := s.Pending("up", 0, 10)
		if len(pending) != 1 || pending[0].Seq != 1 || !bytes.Equal(read(t, s, 1), content(1, 3000)) {
			t.Fatalf("pending %v", pending)
		}
		if n := len(s.Pending("second", 0, 10)); n != 0 {
			t.Error("its progress is forgotten")
		}
		if r, ok := s.Find(kind, name(t, "stuck.ndi")); !ok || len(r.Custody) != 2 {
			t.Errorf("receipt %+v", r)
		}
		s.Close()
	}
}

// TestDamagedBodyIsLossNotDelivery, in the journal and in a file of its own.
func TestDamagedBodyIsLossNotDelivery(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, small())
	accept(t, s, "small.ndi", content(1, 3000))
	accept(t, s, "large.ndi", content(2, 200<<10))
	accept(t, s, "gone.ndi", content(3, 200<<10))
	file, from, _ := s.Place(1)
	m.Garble(file, from+1000, []byte("rot"))
	var blobs []string
	for _, n := range m.Names() {
		if len(n) > 6 && n[:6] == "blobs/" {
			blobs = append(blobs, n)
		}
	}
	m.Garble(blobs[0], 70000, []byte("rot"))
	m.Remove(blobs[1])
	for seq := uint64(1); seq <= 3; seq++ {
		if _, err := s.Body(seq); !errors.Is(err, uploads.ErrUnknown) {
			t.Errorf("Body(%d) = %v", seq, err)
		}
	}
	if st := s.Stats(); st.Pending != 0 || st.Lost[spool.LossDamaged] != 3 {
		t.Errorf("stats %+v", st)
	}
}

// TestUnreadableBodyStays: an error of reading is no proof of damage.
func TestUnreadableBodyStays(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, small())
	accept(t, s, "f.ndi", content(1, 3000))
	m.SetFault(func(op disktest.Op, _ string) error {
		if op == disktest.OpRead {
			return errors.New("try again")
		}
		return nil
	})
	if _, err := s.Body(1); err == nil || errors.Is(err, uploads.ErrUnknown) {
		t.Errorf("Body = %v", err)
	}
	m.SetFault(nil)
	if got := read(t, s, 1); !bytes.Equal(got, content(1, 3000)) {
		t.Error("wrong bytes")
	}
}

// TestBlobsGoWithTheirFiles, and what an unfinished upload left is swept.
func TestBlobsGoWithTheirFiles(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, small())
	accept(t, s, "large.ndi", content(1, 300<<10))
	if st := s.Stats(); st.Blobs != 1 || st.BlobBytes != 300<<10 {
		t.Errorf("stats %+v", st)
	}
	m = m.Kill()
	m.Put("blobs/aaaaaaaaaaaaaaaaaaaaaaaaaa.tmp", []byte("x"))
	m.Put("blobs/aaaaaaaaaaaaaaaaaaaaaaaaaa.blob", []byte("x"))
	s = onMemory(t, m, small())
	if rec := s.Recovery(); rec.Orphans != 2 {
		t.Errorf("recovery %+v", rec)
	}
	if !bytes.Equal(read(t, s, 1), content(1, 300<<10)) {
		t.Error("wrong bytes")
	}
	deliverAll(t, s, "up")
	s.WaitTidy()
	if st := s.Stats(); st.Blobs != 0 || st.BlobBytes != 0 {
		t.Errorf("stats %+v", st)
	}
	for _, n := range m.Names() {
		if len(n) > 6 && n[:6] == "blobs/" {
			t.Errorf("%s is left", n)
		}
	}
}

// TestBodyOfSlowSenderLeavesMemory: under pressure the slowest body goes on in a
// file, and one that finds no memory at all does so from the start.
func TestBodyOfSlowSenderLeavesMemory(t *testing.T) {
	o := small()
	o.SegmentBytes, o.MemoryBudget = 8<<20, 1<<20
	s := open(t, t.TempDir(), o)
	slow, feed := io.Pipe()
	done := make(chan uploads.Receipt)
	body := content(1, 600<<10)
	go func() {
		r, err := s.Accept(context.Background(), draft(t, "slow.ndi"), slow)
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	feed.Write(body[:500<<10])
	fast, feedFast := io.Pipe()
	quick := make(chan uploads.Receipt)
	go func() {
		r, err := s.Accept(context.Background(), draft(t, "fast.ndi"), fast)
		if err != nil {
			t.Error(err)
		}
		quick <- r
	}()
	feedFast.Write(content(2, 900<<10))
	feedFast.Close()
	<-quick
	feed.Write(body[500<<10:])
	feed.Close()
	r := <-done
	if st := s.Stats(); st.Blobs < 1 || st.BudgetUsed != 0 {
		t.Errorf("stats %+v", st)
	}
	for _, u := range s.Pending("up", 0, 10) {
		if got := read(t, s, u.Seq); uploads.DigestOf(got) != u.Digest {
			t.Errorf("%s: wrong bytes", u.Name)
		}
	}
	if r.SHA256 != uploads.DigestOf(body) {
		t.Error("wrong digest")
	}

	s.SetBudgetUsed(1 << 20)
	before := s.Stats().Blobs
	accept(t, s, "tiny.ndi", content(5, 10))
	if st := s.Stats(); st.Blobs != before+1 {
		t.Errorf("stats %+v", st)
	}
	s.SetBudgetUsed(0)
	accept(t, s, "tiny2.ndi", content(6, 10))
	if st := s.Stats(); st.Blobs != before+1 {
		t.Errorf("stats %+v", st)
	}
}

func TestReadyWaitsForSpares(t *testing.T) {
	s := open(t, t.TempDir(), recycling())
	if err := s.Ready(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if st.Spares < 5 || st.SpareBytes < 5*(240<<10) {
		t.Errorf("stats %+v", st)
	}
	free, err := s.Free()
	if err != nil || free <= st.SpareBytes {
		t.Errorf("free %d, %v", free, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Ready(ctx, 5000); !errors.Is(err, context.Canceled) {
		t.Errorf("Ready = %v", err)
	}
	if err := open(t, t.TempDir(), small()).Ready(t.Context(), 1); err == nil {
		t.Error("spares without recycling")
	}
}

// TestManyWordyMarksFit: what sinks tell and errors say does not outgrow the
// smallest segment.
func TestManyWordyMarksFit(t *testing.T) {
	o := small()
	o.SegmentBytes = 64 << 10
	m := disktest.NewMemory()
	s := onMemory(t, m, o)
	fill(t, s, 0, 150, 10)
	words := strings.Repeat("é", 5000)
	if err := s.Lose(1, spool.LossRefused, words); err != nil {
		t.Fatal(err)
	}
	var custody []uploads.Custody
	for range 40 {
		custody = append(custody, uploads.Custody{Level: uploads.LevelParent, Beacon: words[:200]})
	}
	var marks []spool.Mark
	for _, u := range s.Pending("up", 0, 1000) {
		marks = append(marks, spool.Mark{Seq: u.Seq, Custody: custody})
	}
	if err := s.Deliver("up", marks); err != nil {
		t.Fatal(err)
	}
	s.WaitTidy()
	s = onMemory(t, m.Kill(), o)
	if st := s.Stats(); st.Pending != 0 || len(s.Recovery().Lost) != 0 {
		t.Errorf("stats %+v", st)
	}
}
