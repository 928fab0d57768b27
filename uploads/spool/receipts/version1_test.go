package receipts_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool/disk/disktest"
	"inventorybeacon/uploads/spool/receipts"
)

// version1 is a disk with receipts as version 1 of the format had them: 39
// uploads of 35 names, every eighth lost, and a damaged range.
func version1(t *testing.T) *disktest.Memory {
	t.Helper()
	b, err := os.ReadFile("testdata/version1.log")
	if err != nil {
		t.Fatal(err)
	}
	m := disktest.NewMemory()
	m.Put("receipts/receipts.log", b)
	return m
}

func openSmall(t *testing.T, m *disktest.Memory) *receipts.Archive {
	t.Helper()
	a, err := receipts.Open(m, "receipts", receipts.Small(8, 200))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func checkVersion1(t *testing.T, a *receipts.Archive) {
	t.Helper()
	for n := range 39 {
		name, err := uploads.ParseName(fmt.Sprintf("ws%04d at 20260102T030405.ndi.gz", n%35))
		if err != nil {
			t.Fatal(err)
		}
		f := receipts.FileID{Name: receipts.NameIDOf("Inventories", name), Digest: uploads.DigestOf(fmt.Append(nil, n))}
		e, err := a.FindExact(f)
		if err != nil || e == nil || e.Upload.Seq != uint64(2*n+1) || e.Lost() != (n%8 == 7) || e.Upload.AgentID != fmt.Sprintf("%032x", n) ||
			e.Upload.Size != int64(1000+n) || e.Upload.Name != name || len(e.Marks) != 1 || !e.Lost() && e.Marks[0].Custody[0].Level != uploads.LevelStore {
			t.Fatalf("%d: %+v, %v", n, e, err)
		}
		if newest, err := a.Find(f.Name); n >= 35 && n%8 != 7 && (err != nil || newest == nil || newest.Upload.Seq != e.Upload.Seq) {
			t.Fatalf("newest %d: %+v, %v", n, newest, err)
		}
	}
	n := 0
	for e, err := range a.Events(0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Seq <= 80 {
			n++
		}
	}
	if losses, err := a.Losses(0, 100); n != 79 || err != nil || len(losses) != 5 || losses[4].Mark.Through != 79 {
		t.Fatalf("%d events, losses %+v, %v", n, losses, err)
	}
}

// TestArchiveTakesOverVersion1, which it reads without a change until something
// is appended.
func TestArchiveTakesOverVersion1(t *testing.T) {
	m := version1(t)
	before := string(m.Contents("receipts/receipts.log"))
	a := openSmall(t, m)
	checkVersion1(t, a)
	if names := m.Names(); len(names) != 1 || string(m.Contents(names[0])) != before {
		t.Fatalf("Open changed %v", names)
	}
	extra := made(t, 100, "new.ndi", 1)
	if err := a.Append([]*receipts.Entry{extra}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		checkVersion1(t, a)
		if !has(t, a, extra) || a.Len() != 41 || a.Damaged() != 0 || a.Last() != 201 {
			t.Errorf("%d receipts, %d damaged, last %d", a.Len(), a.Damaged(), a.Last())
		}
		if want := []string{"receipts/00000000-00000000.0.run", "receipts/00000001.log", "receipts/receipts.log"}; !slices.Equal(m.Names(), want) {
			t.Errorf("files %v", m.Names())
		}
		if head := m.Contents("receipts/receipts.log"); len(head) != 32 || head[8] != 2 {
			t.Errorf("an older program would not refuse %x", head)
		}
		a.Close()
		a = openSmall(t, m)
	}
}

// TestArchiveTakesOverVersion1InSteps: a power cut at any of them loses nothing.
func TestArchiveTakesOverVersion1InSteps(t *testing.T) {
	steps := 0
	for cut := 1; ; cut++ {
		m := version1(t)
		n, dead := 0, false
		a := openSmall(t, m)
		m.SetFault(func(op disktest.Op, _ string) error {
			if op != disktest.OpRead && op != disktest.OpOpen {
				n++
			}
			if dead = dead || n >= cut; dead {
				return errors.New("the power is gone")
			}
			return nil
		})
		err := a.Append([]*receipts.Entry{made(t, 100, "new.ndi", 1)})
		if !dead {
			steps = cut
			break
		}
		m = m.Cut(rand.New(rand.NewPCG(uint64(cut), 1)))
		for range 2 {
			a = openSmall(t, m)
			checkVersion1(t, a)
			if err == nil && !has(t, a, made(t, 100, "new.ndi", 1)) {
				t.Fatalf("step %d: what was acknowledged is gone", cut)
			}
			err = a.Append([]*receipts.Entry{made(t, 100, "new.ndi", 1)})
			if err != nil || a.Damaged() != 0 {
				t.Fatalf("step %d: %v, %d damaged", cut, err, a.Damaged())
			}
			checkVersion1(t, a)
		}
		if names := strings.Join(m.Names(), " "); strings.Contains(names, ".tmp") {
			t.Fatalf("step %d: left %s", cut, names)
		}
	}
	if steps < 10 {
		t.Errorf("only %d steps", steps)
	}
}
