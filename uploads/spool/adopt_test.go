package spool_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/disk/disktest"
)

// TestAdoptedFileIsAnUpload, of any size: nothing of it is copied, and a repeat
// is one.
func TestAdoptedFileIsAnUpload(t *testing.T) {
	for _, size := range []int{0, 100, 3 << 20} {
		dir := t.TempDir()
		s := open(t, dir, small())
		body := content(1, size)
		put := func(b []byte) string {
			if err := os.MkdirAll(filepath.Join(dir, "unfinished"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "unfinished", "x.part"), b, 0o600); err != nil {
				t.Fatal(err)
			}
			return "unfinished/x.part"
		}
		gone := func() bool {
			_, err := os.Stat(filepath.Join(dir, "unfinished", "x.part"))
			return os.IsNotExist(err)
		}
		d := draft(t, "f.ndi")
		d.MaxBytes = int64(size) + 1
		wrong := uploads.DigestOf([]byte("other"))
		for _, tt := range []struct {
			change func(*spool.Draft)
			want   error
		}{
			{func(d *spool.Draft) { d.Want = &wrong }, uploads.ErrDigest},
			{func(d *spool.Draft) { d.Length, d.MaxBytes = int64(size)+1, 0 }, uploads.ErrShort},
			{func(d *spool.Draft) { d.Name = uploads.Name{} }, uploads.ErrBadName},
		} {
			bad := d
			tt.change(&bad)
			if _, err := s.Adopt(t.Context(), bad, put(body)); !errors.Is(err, tt.want) || gone() {
				t.Errorf("adopt: %v, want %v; gone %v", err, tt.want, gone())
			}
		}
		if _, err := s.Adopt(t.Context(), d, put(append(body, 1, 2))); !errors.Is(err, uploads.ErrTooLarge) || gone() {
			t.Errorf("too large: %v", err)
		}
		if _, err := s.Adopt(t.Context(), d, "blobs/../version"); err == nil {
			t.Error("a file from elsewhere was adopted")
		}
		d.Length = int64(size)
		for i, want := range []bool{false, true} {
			r, err := s.Adopt(t.Context(), d, put(body))
			if err != nil || r.Duplicate != want || r.Bytes != int64(size) || !gone() {
				t.Fatalf("time %d: %+v, %v", i, r, err)
			}
		}
		for range 2 {
			held := s.Pending("up", 0, 10)
			if len(held) != 1 || !bytes.Equal(read(t, s, held[0].Seq), body) {
				t.Fatalf("held %+v", held)
			}
			s = reopen(t, s, dir, small())
			if rec := s.Recovery(); len(rec.Unknown) > 0 {
				t.Errorf("unknown %q", rec.Unknown)
			}
		}
	}
}

// TestAdoptGivesBackWhatItCannotStore, and takes it once the disk works again.
func TestAdoptGivesBackWhatItCannotStore(t *testing.T) {
	for _, op := range []disktest.Op{disktest.OpSync, disktest.OpRename, disktest.OpSyncDir, disktest.OpWrite} {
		t.Run(string(op), func(t *testing.T) {
			m := disktest.NewMemory()
			s := onMemory(t, m, small())
			s.WaitTidy() // the reserve is made
			m.Put("unfinished/x.part", content(1, 5000))
			failed := false
			m.SetFault(func(o disktest.Op, name string) error {
				if o != op || failed {
					return nil
				}
				failed = true
				return errors.New("spoiled")
			})
			if _, err := s.Adopt(t.Context(), draft(t, "f.ndi"), "unfinished/x.part"); err == nil {
				t.Fatal("no error")
			}
			m.SetFault(nil)
			if !bytes.Equal(m.Contents("unfinished/x.part"), content(1, 5000)) {
				t.Fatalf("not given back: %q", m.Names())
			}
			if _, err := s.Adopt(t.Context(), draft(t, "f.ndi"), "unfinished/x.part"); err != nil {
				t.Fatal(err)
			}
			if got := read(t, s, s.Pending("up", 0, 1)[0].Seq); !bytes.Equal(got, content(1, 5000)) {
				t.Error("wrong bytes")
			}
		})
	}
}

// TestAdoptedFileSurvivesPowerCut: cut at any operation, the bytes are held as an
// upload or are where they were; parts of them may have been promised.
func TestAdoptedFileSurvivesPowerCut(t *testing.T) {
	body := content(1, 5000)
	stored, back := 0, 0
	for after := 0; stored == 0; after++ {
		m := disktest.NewMemory()
		s := onMemory(t, m, small())
		m.Put("unfinished/x.part", body)
		ops := 0
		m.SetFault(func(disktest.Op, string) error {
			if ops++; ops > after {
				return errors.New("no power")
			}
			return nil
		})
		_, err := s.Adopt(t.Context(), draft(t, "f.ndi"), "unfinished/x.part")
		m = m.Cut(rand.New(rand.NewPCG(uint64(after), 7)))
		s = onMemory(t, m, small())
		held := s.Pending("up", 0, 10)
		switch {
		case len(held) == 1 && bytes.Equal(read(t, s, held[0].Seq), body):
			stored++
		case err != nil && len(held) == 0 && bytes.Equal(m.Contents("unfinished/x.part"), body):
			back++
		default:
			t.Fatalf("cut after %d operations (%v): %d held, %q", after, err, len(held), m.Names())
		}
		if rec := s.Recovery(); len(rec.Unknown)+len(rec.Lost) > 0 {
			t.Errorf("cut after %d operations: %+v", after, rec)
		}
	}
	if back == 0 {
		t.Error("nothing was given back: this shows nothing")
	}
	t.Logf("given back %d times before it was stored", back)
}
