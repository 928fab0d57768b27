package spool_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/disk/disktest"
)

// TestOutboxOnFullDiskReopens: others filled the disk, and the agent was killed.
// It opens, delivers what it has, and takes uploads again when there is room; what
// stands in the way of the twin is that there is no reserve.
func TestOutboxOnFullDiskReopens(t *testing.T) {
	for _, reserve := range []bool{true, false} {
		t.Run(fmt.Sprint(reserve), func(t *testing.T) {
			m := disktest.NewMemory()
			s := onMemory(t, m, small())
			ids := fill(t, s, 0, 5, 3000)
			s.WaitTidy()
			m = m.Kill()
			if !reserve {
				m.Delete("reserve")
			}
			m.Fill()
			o := small()
			o.Disk = m
			s, err := spool.Open(t.TempDir(), o)
			if !reserve {
				if !errors.Is(err, uploads.ErrFull) {
					t.Fatalf("open without a reserve: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			expect(t, s, ids)
			if _, err := s.Accept(t.Context(), draft(t, "big.ndi"), bytes.NewReader(content(9, 600<<10))); !errors.Is(err, uploads.ErrFull) {
				t.Errorf("a file on a full disk: %v", err)
			}
			deliverAll(t, s, "up")
			if st := s.Stats(); st.Pending != 0 {
				t.Errorf("stats %+v", st)
			}
			m.Relieve()
			accept(t, s, "later.ndi", content(10, 60<<10))
			for i := 0; m.Contents("reserve") == nil; i++ {
				accept(t, s, fmt.Sprintf("more%d.ndi", i), content(11+i, 60<<10))
				deliverAll(t, s, "up")
				s.WaitTidy()
			}
		})
	}
}

// TestMarksAreRecordedOnTheReserve: uploads have filled the disk to its end;
// what is delivered then makes room.
func TestMarksAreRecordedOnTheReserve(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, small())
	fill(t, s, 0, 3, 50<<10)
	s.WaitTidy()
	m.Fill()
	for i := 0; ; i++ {
		_, err := s.Accept(t.Context(), draft(t, fmt.Sprintf("x%d.ndi", i)), bytes.NewReader(content(100+i, 3000)))
		if errors.Is(err, uploads.ErrFull) {
			break
		}
		if err != nil || i == 1000 {
			t.Fatalf("upload %d: %v", i, err)
		}
	}
	deliverAll(t, s, "up")
	if st := s.Stats(); st.Pending != 0 {
		t.Errorf("stats %+v", st)
	}
}

// TestReceiptsAreWrittenOnTheReserve: the disk is full, and there is room for
// marks in the journal; segments are freed all the same, since their receipts are
// written on the reserve.
func TestReceiptsAreWrittenOnTheReserve(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, recycling())
	if err := s.Ready(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	fill(t, s, 0, 100, 3000)
	s.WaitTidy()
	m.Fill()
	deliverAll(t, s, "up")
	s.WaitTidy()
	if st := s.Stats(); st.SegmentsFreed == 0 {
		t.Errorf("nothing was freed: %+v", st)
	}
}

// TestUploadsLeaveTheReserve: what the spool gave the disk back for its own records
// is not for uploads, large or small; deliveries go on, and then there is room.
func TestUploadsLeaveTheReserve(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, small())
	fill(t, s, 0, 30, 20<<10)
	s.WaitTidy()
	m.Fill()
	refused := func(n, size int) {
		t.Helper()
		for i := 0; ; i++ {
			_, err := s.Accept(t.Context(), draft(t, fmt.Sprintf("x%d-%d.ndi", n, i)), bytes.NewReader(content(100+i, size)))
			if errors.Is(err, uploads.ErrFull) {
				return
			}
			if err != nil || i == 1000 {
				t.Fatalf("upload %d: %v", i, err)
			}
		}
	}
	refused(0, 3000)
	for i, k := range s.Keys("up", 0, 1000, nil) {
		if err := s.Deliver("up", []spool.Mark{{Seq: k.Seq}}); err != nil {
			t.Fatalf("delivery %d: %v", i, err)
		}
		refused(i, 3000)
		refused(i, 100<<10)
		if i == 20 {
			break
		}
	}
	m.Relieve()
	accept(t, s, "later.ndi", content(7, 60<<10))
}
