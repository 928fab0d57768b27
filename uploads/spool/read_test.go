package spool_test

import (
	"errors"
	"testing"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/disk/disktest"
)

// TestUnreadableRecordIsLoss: what is known of a file is read when it is wanted;
// if the disk did not keep it, the file is lost, by its number alone, and others
// are not. Of a sealed segment the index knows its name.
func TestUnreadableRecordIsLoss(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		m := disktest.NewMemory()
		s := onMemory(t, m, small())
		ids := fill(t, s, 0, 3, 3000)
		if sealed {
			fill(t, s, 3, 10, 60<<10)
			s.WaitTidy()
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = onMemory(t, m, small()) // so that nothing is remembered
		file, from, _ := s.Place(2)
		m.Garble(file, from+20, []byte("rot"))
		if !sealed {
			for i, u := range s.Pending("up", 0, 10) {
				if want := []uint64{1, 3}[i]; u.Seq != want {
					t.Errorf("file %d is number %d", i, u.Seq)
				}
			}
		} else {
			if u := s.Pending("up", 1, 1); u[0].Name.String() != ids[1].Name {
				t.Errorf("the index says %+v", u)
			}
			if _, err := s.Body(2); !errors.Is(err, uploads.ErrUnknown) {
				t.Errorf("body: %v", err)
			}
		}
		lost := events(t, s, spool.Lost)
		if len(lost) != 1 || lost[0].Upload.Seq != 2 || lost[0].Reason != spool.LossDamaged {
			t.Errorf("sealed %v: losses %+v", sealed, lost)
		}
		if known := lost[0].Upload.Name.String() == ids[1].Name; known != sealed {
			t.Errorf("sealed %v: loss of %q", sealed, lost[0].Upload.Name)
		}
	}
}

// TestCutRecordIsLoss: a segment is shorter than what was acknowledged in it. That
// no try will mend: the file is lost, with its name, and others are not.
func TestCutRecordIsLoss(t *testing.T) {
	m := disktest.NewMemory()
	s := onMemory(t, m, small())
	ids := fill(t, s, 0, 3, 3000)
	file, from, to := s.Place(3)
	f, err := m.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate((from + to) / 2); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Body(3); !errors.Is(err, uploads.ErrUnknown) {
		t.Errorf("body: %v", err)
	}
	lost := events(t, s, spool.Lost)
	if len(lost) != 1 || lost[0].Upload.Name.String() != ids[2].Name || lost[0].Reason != spool.LossDamaged {
		t.Errorf("losses %+v", lost)
	}
	if st := s.Stats(); st.Pending != 2 || st.Lost[spool.LossDamaged] != 1 {
		t.Errorf("stats %+v", st)
	}
	read(t, s, 2)
}

// TestEventsHoldTheirSegments: while somebody goes through the events, the
// segments that there were are not freed, and are afterwards.
func TestEventsHoldTheirSegments(t *testing.T) {
	s := open(t, t.TempDir(), recycling())
	ids := fill(t, s, 0, 20, 60<<10)
	seen := 0
	for e, err := range s.Events(0) {
		if err != nil {
			t.Fatal(err)
		}
		if seen == 0 {
			deliverAll(t, s, "up")
			s.WaitTidy()
			if n := s.Stats().SegmentsFreed; n != 0 {
				t.Errorf("%d segments were freed", n)
			}
		}
		if e.What != spool.Accepted || e.Upload.Name.String() != ids[seen].Name {
			t.Errorf("event %d: %+v", seen, e)
		}
		seen++
	}
	s.WaitTidy()
	if n := s.Stats().SegmentsFreed; seen != len(ids) || n == 0 {
		t.Errorf("%d events, then %d segments freed", seen, n)
	}
}

// TestNameIDsAgree: what the replay makes of bytes is what others make of names.
func TestNameIDsAgree(t *testing.T) {
	for _, s := range []string{"Host at 20260101T000000.NDI.gz", "ÜNÏTÉ.ndi", "a.log", "İstanbul.ndi"} {
		if !spool.SameNameID(kind, name(t, s)) {
			t.Errorf("%q has two identities", s)
		}
	}
}
