package spool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/disk"
	"inventorybeacon/uploads/spool/disk/disktest"
)

// TestAcceptKeepsNothingOnFailure: an upload that fails leaves nothing, and the
// same upload done right succeeds.
func TestAcceptKeepsNothingOnFailure(t *testing.T) {
	boom := errors.New("boom")
	wrong := uploads.Digest{1}
	for _, size := range []int{3000, 3 << 20} {
		body := content(1, size)
		right := uploads.DigestOf(body)
		half := bytes.NewReader(body[:size/2])
		tests := []struct {
			name  string
			draft func(*spool.Draft)
			body  io.Reader
			want  error
		}{
			{"reader fails", nil, io.MultiReader(half, iotest.ErrReader(boom)), boom},
			{"declared too large", func(d *spool.Draft) { d.Length, d.MaxBytes = int64(size), 1000 }, bytes.NewReader(body), uploads.ErrTooLarge},
			{"too large", func(d *spool.Draft) { d.MaxBytes = int64(size) - 1 }, bytes.NewReader(body), uploads.ErrTooLarge},
			{"longer than declared", func(d *spool.Draft) { d.Length = int64(size) - 1 }, bytes.NewReader(body), uploads.ErrTooLarge},
			{"ends early", func(d *spool.Draft) { d.Length = int64(size) + 1 }, bytes.NewReader(body), uploads.ErrShort},
			{"cut", nil, io.MultiReader(bytes.NewReader(body[:10]), iotest.ErrReader(io.ErrUnexpectedEOF)), uploads.ErrShort},
			{"wrong digest", func(d *spool.Draft) { d.Want = &wrong }, bytes.NewReader(body), uploads.ErrDigest},
			{"no name", func(d *spool.Draft) { d.Name = uploads.Name{} }, bytes.NewReader(body), uploads.ErrBadName},
		}
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s/%d", tt.name, size), func(t *testing.T) {
				dir := t.TempDir()
				s := open(t, dir, small())
				d := draft(t, "f.ndi")
				if tt.draft != nil {
					tt.draft(&d)
				}
				if _, err := s.Accept(t.Context(), d, tt.body); !errors.Is(err, tt.want) {
					t.Fatalf("Accept = %v, want %v", err, tt.want)
				}
				if st := s.Stats(); st.Pending != 0 || st.BudgetUsed != 0 || st.InFlight != 0 || st.Segments != 0 {
					t.Errorf("stats %+v", st)
				}
				for _, sub := range []string{"segments", "blobs", "receipts"} {
					if ents, err := os.ReadDir(filepath.Join(dir, sub)); len(ents) > 0 || err != nil {
						t.Errorf("left in %s: %v %v", sub, ents, err)
					}
				}
				d = draft(t, "f.ndi")
				d.Length, d.MaxBytes, d.Want = int64(size), int64(size), &right
				if r, err := s.Accept(t.Context(), d, bytes.NewReader(body)); err != nil || r.Duplicate || r.Bytes != int64(size) {
					t.Errorf("done right: %+v, %v", r, err)
				}
			})
		}
	}
}

func TestAcceptStopsWhenContextEnds(t *testing.T) {
	s := open(t, t.TempDir(), small())
	ctx, cancel := context.WithCancel(t.Context())
	body := io.MultiReader(bytes.NewReader(content(1, 100)), readFunc(func([]byte) (int, error) {
		cancel()
		return 1, nil
	}), bytes.NewReader(content(2, 100)))
	if _, err := s.Accept(ctx, draft(t, "f.ndi"), body); !errors.Is(err, context.Canceled) {
		t.Errorf("Accept = %v", err)
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }

// TestRepeatGetsFirstReceipt, whatever its name's case, at every stage of the
// first one's life; other bytes under that name are another file.
func TestRepeatGetsFirstReceipt(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, recycling())
	body := content(1, 3000)
	first := accept(t, s, "host.ndi", body)
	check := func(when string, custody int) {
		t.Helper()
		r := accept(t, s, "HOST.ndi", body)
		if !r.Duplicate || r.ID != first.ID || r.Name != "host.ndi" || !r.Received.Equal(first.Received) || r.Beacon != "b1" {
			t.Errorf("%s: repeat gives %+v, first %+v", when, r, first)
		}
		if len(r.Custody) != custody {
			t.Errorf("%s: custody %+v, want %d entries", when, r.Custody, custody)
		}
		found, ok := s.Find(kind, name(t, "Host.ndi"))
		exact, ok2 := s.FindExact(kind, name(t, "hOst.ndi"), first.SHA256)
		if !ok || !ok2 || found.ID != first.ID || exact.ID != first.ID {
			t.Errorf("%s: found %+v %v, %+v %v", when, found, ok, exact, ok2)
		}
	}
	check("held", 1)
	s = reopen(t, s, dir, recycling())
	check("after restart", 1)
	at := first.Received
	custody := []uploads.Custody{{Level: uploads.LevelStore, Beacon: "s3", At: at}}
	if err := s.Deliver("up", []spool.Mark{{Seq: 1, Custody: custody}}); err != nil {
		t.Fatal(err)
	}
	check("delivered", 2)
	for i := range 200 {
		accept(t, s, fmt.Sprintf("f%d.ndi", i), content(i+10, 10<<10))
	}
	for _, u := range s.Pending("up", 0, 100) {
		if err := s.Deliver("up", []spool.Mark{{Seq: u.Seq}}); err != nil {
			t.Fatal(err)
		}
	}
	s.WaitTidy()
	if s.Stats().Receipts == 0 {
		t.Fatal("no segment was freed")
	}
	check("segment freed", 2)
	s = reopen(t, s, dir, recycling())
	check("freed and restarted", 2)

	other := accept(t, s, "host.ndi", content(2, 3000))
	if other.Duplicate || other.ID == first.ID {
		t.Errorf("other bytes: %+v", other)
	}
	if r, ok := s.Find(kind, name(t, "host.ndi")); !ok || r.ID != other.ID {
		t.Errorf("newest is %+v", r)
	}
	if _, ok := s.FindExact(kind, name(t, "host.ndi"), first.SHA256); !ok {
		t.Error("the first is forgotten")
	}
}

// TestLostFileIsNoRepeat, held or long gone: its resend is stored.
func TestLostFileIsNoRepeat(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, recycling())
	body := content(1, 3000)
	accept(t, s, "host.ndi", body)
	for i := range 3 {
		u := s.Pending("up", 0, 1)[0]
		if err := s.Lose(u.Seq, spool.LossRefused, "not XML"); err != nil {
			t.Fatal(err)
		}
		if err := s.Lose(u.Seq, spool.LossRefused, ""); !errors.Is(err, uploads.ErrUnknown) {
			t.Errorf("second Lose = %v", err)
		}
		if _, ok := s.Find(kind, u.Name); ok {
			t.Error("the lost file is found")
		}
		if i == 1 { // let its segment be freed
			for j := range 100 {
				accept(t, s, fmt.Sprintf("f%d.ndi", j), content(j+10, 10<<10))
			}
			for _, u := range s.Pending("up", 0, 1000) {
				if err := s.Deliver("up", []spool.Mark{{Seq: u.Seq}}); err != nil {
					t.Fatal(err)
				}
			}
			s.WaitTidy()
			s = reopen(t, s, dir, recycling())
		}
		if _, ok := s.FindExact(kind, u.Name, u.Digest); ok {
			t.Error("the lost file is found")
		}
		if r := accept(t, s, "host.ndi", body); r.Duplicate {
			t.Fatalf("round %d: the resend is called a repeat", i)
		}
		if _, ok := s.FindExact(kind, u.Name, u.Digest); !ok {
			t.Error("the resend is not found")
		}
	}
}

// TestConcurrentRepeatsStoreOnce: all get one receipt, none before the first is
// durable.
func TestConcurrentRepeatsStoreOnce(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, small())
	accept(t, s, "before.ndi", nil)
	syncing, proceed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	m.SetFault(func(op disktest.Op, _ string) error {
		return nil
	})
	rec := &gate{Disk: m, before: func(name string) {
		once.Do(func() { close(syncing); <-proceed })
	}}
	s.Close()
	o := small()
	o.Disk = rec
	rec.armed = true
	s = open(t, t.TempDir(), o)
	answers := make(chan uploads.Receipt, 8)
	for range 8 {
		go func() {
			d := draft(t, "f.ndi")
			r, err := s.Accept(context.Background(), d, bytes.NewReader(content(1, 500)))
			if err != nil {
				t.Error(err)
			}
			answers <- r
		}()
	}
	<-syncing
	select {
	case r := <-answers:
		t.Errorf("answered before the sync: %+v", r)
	default:
	}
	close(proceed)
	duplicates := 0
	for range 8 {
		if r := <-answers; r.Duplicate {
			duplicates++
		}
	}
	if duplicates != 7 || s.Stats().Pending != 2 {
		t.Errorf("%d repeats, stats %+v", duplicates, s.Stats())
	}
}

// A gate is a disk whose syncs of segments wait.
type gate struct {
	disk.Disk
	armed  bool
	before func(name string)
}

func (g *gate) Open(name string) (disk.File, error) {
	f, err := g.Disk.Open(name)
	return g.wrap(name, f, err)
}

func (g *gate) Create(name string) (disk.File, error) {
	f, err := g.Disk.Create(name)
	return g.wrap(name, f, err)
}

func (g *gate) wrap(name string, f disk.File, err error) (disk.File, error) {
	if err != nil || !strings.HasPrefix(name, "segments/") {
		return f, err
	}
	return &gatedFile{f, g, name, 0}, nil
}

type gatedFile struct {
	disk.File
	g     *gate
	name  string
	syncs int
}

// Sync lets the first one pass, which is that of the opening.
func (f *gatedFile) Sync() error {
	if f.syncs++; f.syncs > 1 {
		f.g.before(f.name)
	}
	return f.File.Sync()
}

// TestNoReceiptBeforeSync asks at the instant of every success whether the
// bytes are durable; and the question finds the bug when it is put in.
func TestNoReceiptBeforeSync(t *testing.T) {
	recorded := func(t *testing.T, skip func(name string) bool) (*disktest.Recorder, *spool.Spool) {
		dir := t.TempDir()
		d, err := disk.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		rec := disktest.NewRecorder(d)
		rec.Skip = skip
		o := recycling()
		o.Disk, o.Trace = rec, &spool.Trace{Acked: rec.Acked}
		return rec, open(t, dir, o)
	}
	t.Run("sound", func(t *testing.T) {
		rec, s := recorded(t, nil)
		var wg sync.WaitGroup
		for c := range 8 {
			wg.Go(func() {
				for i := range 40 {
					size := []int{10, 3000, 20 << 10, 100 << 10}[i%4]
					r := accept(t, s, fmt.Sprintf("c%d-%d.ndi", c, i), content(c*100+i, size))
					if err := rec.Check(r.ID); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if st := s.Stats(); st.Blobs == 0 || st.Segments < 4 {
			t.Errorf("too little was tried: %+v", st)
		}
	})
	t.Run("acknowledged early", func(t *testing.T) {
		rec, s := recorded(t, nil)
		accept(t, s, "sound.ndi", nil)
		s.AckEarly()
		r := accept(t, s, "f.ndi", content(1, 3000))
		if err := rec.Check(r.ID); err == nil || !strings.Contains(err.Error(), "not synced") {
			t.Errorf("the checker says %v", err)
		}
	})
	for _, skipped := range []string{"segments/.*", "blobs/.*", "blobs"} {
		t.Run("skipped sync of "+skipped, func(t *testing.T) {
			var armed atomic.Bool
			pattern := regexp.MustCompile("^" + skipped + "$")
			rec, s := recorded(t, func(name string) bool { return armed.Load() && pattern.MatchString(name) })
			accept(t, s, "sound.ndi", nil)
			armed.Store(true)
			r := accept(t, s, "f.ndi", content(1, 100<<10))
			if err := rec.Check(r.ID); err == nil {
				t.Error("the checker says nothing")
			}
		})
	}
}

func TestOneProcessOwnsSpool(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	if _, err := spool.Open(dir, small()); err == nil {
		t.Fatal("opened twice")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, small())
}

func TestClosedSpoolRefuses(t *testing.T) {
	s := open(t, t.TempDir(), small())
	s.Close()
	if _, err := s.Accept(t.Context(), draft(t, "f.ndi"), strings.NewReader("x")); !errors.Is(err, uploads.ErrClosed) {
		t.Errorf("Accept = %v", err)
	}
	if err := s.Deliver("up", []spool.Mark{{Seq: 1}}); !errors.Is(err, uploads.ErrClosed) {
		t.Errorf("Deliver = %v", err)
	}
}

// TestFullDiskRefusesAndRecovers: no room gives ErrFull, harms nothing held, and
// passes.
func TestFullDiskRefusesAndRecovers(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, small())
	ids := fill(t, s, 0, 3, 3000)
	m.SetFault(func(op disktest.Op, _ string) error {
		if op == disktest.OpWrite || op == disktest.OpCreate {
			return &fs.PathError{Op: "write", Err: disk.ErrFull}
		}
		return nil
	})
	for i := range 3 {
		if _, err := s.Accept(t.Context(), draft(t, fmt.Sprintf("full%d.ndi", i)), bytes.NewReader(content(50+i, 100<<10*i))); !errors.Is(err, uploads.ErrFull) {
			t.Errorf("Accept = %v, want ErrFull", err)
		}
	}
	m.SetFault(nil)
	ids = append(ids, fill(t, s, 3, 3, 3000)...)
	expect(t, s, ids)
	s = onMemory(t, m.Kill(), small())
	expect(t, s, ids)
}
