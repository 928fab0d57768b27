package receipts

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"inventorybeacon/uploads/spool/disk/disktest"
	"inventorybeacon/uploads/spool/journal"
)

const runFile = "receipts/00000001-00000001.0.run"

// stored is a disk with one run of n entries and an archive on it.
func stored(t testing.TB, n int) (*disktest.Memory, []*Entry) {
	t.Helper()
	m := disktest.NewMemory()
	m.Mkdir("receipts")
	all := entries(t, n)
	if err := RunOf(m, "receipts", 1, 1, len(all), func(i int) *Entry { return all[i] }); err != nil {
		t.Fatal(err)
	}
	return m, all
}

var sample = sync.OnceValue(func() []byte {
	m, _ := stored(&testing.T{}, 40)
	return m.Contents(runFile)
})

// garbled is a run into which bytes were written.
func garbled(t testing.TB, raw []byte, at int, xor byte) (*run, error) {
	t.Helper()
	m := disktest.NewMemory()
	b := slices.Clone(sample())
	if at >= 0 && at < len(b) {
		copy(b[at:], raw)
		b[at] ^= xor
	}
	m.Put(runFile, b)
	s, _ := parseRunName("00000001-00000001.0.run")
	return openRun(m, "receipts", s, slog.New(slog.DiscardHandler))
}

func openAll(t testing.TB, m *disktest.Memory) *Archive {
	t.Helper()
	a, err := Open(m, "receipts", Small(8, 100_000))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// missing counts those of the entries that are not found.
func missing(t testing.TB, a *Archive, all []*Entry) (n int) {
	t.Helper()
	for _, e := range all {
		if e.Upload.Name.IsZero() {
			continue
		}
		got, err := a.FindExact(keyedOf(e).id)
		if err != nil {
			t.Fatal(err)
		}
		if got == nil || got.Upload.Seq != e.Upload.Seq {
			n++
		}
	}
	return n
}

func events(t testing.TB, a *Archive) (n int) {
	t.Helper()
	for _, err := range a.Events(0) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// TestArchiveReadsOverDamage of any part of a run, tells how much there is, and
// does so too after the run was written again.
func TestArchiveReadsOverDamage(t *testing.T) {
	m, all := stored(t, 500)
	r, err := garbled(t, nil, -1, 0)
	if err != nil || r.Entries != 40 {
		t.Fatal(err)
	}
	whole := openAll(t, m)
	run := whole.view.runs[0]
	size := int64(len(m.Contents(runFile)))
	for _, tt := range []struct {
		what    string
		at      int64
		damaged int
		lost    int // at most
	}{
		{"nothing", -1, 0, 0},
		{"header", 3, 0, 0},
		{"first block", run.guide.start(0) + 30, 1, blockEntries},
		{"a block's header", run.guide.start(4), 1, blockEntries},
		{"last block", run.guide.start(run.guide.blocks()-1) + 100, 1, blockEntries},
		{"losses", int64(run.LossAt) + 9, 0, 0},
		{"guide", int64(run.GuideAt) + 40, 0, 0},
		{"footer", size - 20, 0, 0},
	} {
		t.Run(tt.what, func(t *testing.T) {
			m, _ := stored(t, 500)
			if tt.at >= 0 {
				m.Garble(runFile, tt.at, []byte("some rot")[:min(8, runHeader-tt.at%runHeader)])
			}
			a := openAll(t, m)
			lost := missing(t, a, all)
			if lost > tt.lost || (lost == 0) != (tt.lost == 0) {
				t.Errorf("%d receipts lost", lost)
			}
			told := events(t, a)
			if a.Damaged() != tt.damaged {
				t.Errorf("%d damaged, want %d", a.Damaged(), tt.damaged)
			}
			j := &job{span: span{1, 1, 1}, runs: a.view.runs}
			if err := j.run(a); err != nil {
				t.Fatal(err)
			}
			a = openAll(t, m)
			if n := missing(t, a, all); n != lost || a.Damaged() != tt.damaged {
				t.Errorf("later %d receipts lost, %d damaged", n, a.Damaged())
			}
			if n := events(t, a); n != told {
				t.Errorf("%d events, %d later", told, n)
			}
		})
	}
}

// TestArchiveLeavesRubbishAlone under the name of a run, and works without.
func TestArchiveLeavesRubbishAlone(t *testing.T) {
	m, all := stored(t, 100)
	m.Put("receipts/00000002-00000002.0.run", []byte("this is no run at all, however long it may be, and it goes on and on and on, up to where there is room for a footer, and beyond that"))
	a := openAll(t, m)
	if n := missing(t, a, all); n != 0 || a.Damaged() != 1 {
		t.Errorf("%d receipts lost, %d damaged", n, a.Damaged())
	}
	if err := a.Append(entries(t, 1)); err != nil {
		t.Fatal(err)
	}
	if m.Contents("receipts/00000002-00000002.0.run") == nil {
		t.Error("it was removed")
	}
}

// TestArchiveRefusesNewerRun and log, and changes nothing.
func TestArchiveRefusesNewer(t *testing.T) {
	for _, name := range []string{runFile, "receipts/00000002.log", "receipts/receipts.log"} {
		t.Run(name, func(t *testing.T) {
			m, _ := stored(t, 100)
			if err := openAll(t, m).Append(entries(t, 3)); err != nil {
				t.Fatal(err)
			}
			m.Garble(name, 8, []byte{9})
			m.SetFault(func(op disktest.Op, _ string) error {
				if op != disktest.OpOpen && op != disktest.OpRead {
					return errors.New("changed")
				}
				return nil
			})
			if _, err := Open(m, "receipts", Options{}); !errors.Is(err, journal.ErrNewer) {
				t.Errorf("Open = %v", err)
			}
		})
	}
}

// TestArchiveDoesNotOpenWhatItCannotRead: an error of the disk is not damage.
func TestArchiveDoesNotOpenWhatItCannotRead(t *testing.T) {
	m, all := stored(t, 100)
	broken := errors.New("no luck")
	m.SetFault(func(op disktest.Op, _ string) error {
		if op == disktest.OpRead {
			return broken
		}
		return nil
	})
	if _, err := Open(m, "receipts", Options{}); !errors.Is(err, broken) {
		t.Errorf("Open = %v", err)
	}
	m.SetFault(nil)
	a := openAll(t, m)
	m.SetFault(func(op disktest.Op, _ string) error {
		if op == disktest.OpRead {
			return broken
		}
		return nil
	})
	e := all[0]
	if _, err := a.FindExact(keyedOf(e).id); !errors.Is(err, broken) {
		t.Errorf("FindExact = %v", err)
	}
	if a.Damaged() != 0 {
		t.Errorf("%d damaged", a.Damaged())
	}
}

// TestMergeLosesNothingToABadRead: it is given up, and done when the disk reads
// again.
func TestMergeLosesNothingToABadRead(t *testing.T) {
	m, all := stored(t, 500)
	a := openAll(t, m)
	a.horizon = all[200].latest() // so that it is written again
	m.SetFault(func(op disktest.Op, name string) error {
		if op == disktest.OpRead && name == runFile {
			return errors.New("no luck")
		}
		return nil
	})
	a.WaitIdle()
	m.SetFault(nil)
	if n := missing(t, a, all); n != 0 || len(a.view.runs) != 1 || a.view.runs[0].rewritten != 0 {
		t.Errorf("%d receipts lost, runs %v", n, a.Runs())
	}
	a.WaitIdle() // too early for another try
	if a.view.runs[0].rewritten != 0 {
		t.Error("tried again at once")
	}
	a.Forgive()
	a.WaitIdle()
	if n := missing(t, a, all[200:]); n != 0 || a.view.runs[0].rewritten != 1 || a.Damaged() != 0 {
		t.Errorf("%d receipts lost, runs %v", n, a.Runs())
	}
}
