package quarantine_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/quarantine"
	"inventorybeacon/uploads/uploadstest"
)

func keep(t *testing.T, s *quarantine.Store, n, size int) string {
	t.Helper()
	body := []byte(strings.Repeat("x", size))
	u := uploadstest.Upload(t, "Logs", fmt.Sprintf("PC%d.log", n), body)
	if err := s.Keep(u, uploadstest.Body(body), "centre", "why"); err != nil {
		t.Fatal(err)
	}
	return u.Receipt().ID
}

func openWith(t *testing.T, dir string, o quarantine.Options) *quarantine.Store {
	t.Helper()
	s, err := quarantine.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func ids(t *testing.T, s *quarantine.Store, left bool) (out []string) {
	t.Helper()
	entries, err := s.List(left)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.ID)
	}
	return out
}

func TestReleaseGivesTheFileBack(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	id := keep(t, s, 1, 5)
	boom := errors.New("spool full")
	if err := s.Release(id, "bob", func(quarantine.Entry, uploads.Body) error { return boom }); !errors.Is(err, boom) || !slices.Equal(ids(t, s, false), []string{id}) {
		t.Fatalf("a release that failed: %v", err)
	}
	err := s.Release(id, "bob", func(e quarantine.Entry, body uploads.Body) error {
		b, err := io.ReadAll(body)
		if string(b) != "xxxxx" || e.ID != id {
			t.Errorf("%q of %+v", b, e)
		}
		return err
	})
	if err != nil || len(ids(t, s, false)) > 0 || len(ids(t, s, true)) > 0 || s.Usage() != (quarantine.Usage{}) || s.Left()[quarantine.LeftReleased] != 1 {
		t.Errorf("%v, %+v, %v", err, s.Usage(), s.Left())
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := s.Release(id, "bob", nil); !errors.Is(err, uploads.ErrUnknown) {
		t.Errorf("again: %v", err)
	}
}

func TestDropLeavesWord(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	id := keep(t, s, 1, 5)
	if err := s.Drop(id, "bob"); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*quarantine.Store{s, open(t, dir)} {
		e, err := s.Find(id[:4])
		if err != nil || e.Left == nil || e.Left.How != quarantine.LeftOperator || e.Left.By != "bob" || len(ids(t, s, false)) > 0 || !slices.Equal(ids(t, s, true), []string{id}) {
			t.Errorf("%+v, %v", e, err)
		}
		if _, err := s.Body(id); !errors.Is(err, uploads.ErrUnknown) {
			t.Errorf("its body: %v", err)
		}
		if err := s.Drop(id, "eve"); !errors.Is(err, uploads.ErrUnknown) {
			t.Errorf("again: %v", err)
		}
	}
	if keep(t, s, 1, 5) != id || !slices.Equal(ids(t, s, false), []string{id}) {
		t.Error("what came again is not kept")
	}
}

func TestInterruptedDeparturesAreFinished(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	dropped, released, kept := keep(t, s, 1, 5), keep(t, s, 2, 5), keep(t, s, 3, 5)
	body, err := os.ReadFile(filepath.Join(dir, dropped+".body"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Drop(dropped, ""); err != nil {
		t.Fatal(err)
	}
	// The sidecars were written, or removed, and the bodies not yet.
	for _, err := range []error{
		os.WriteFile(filepath.Join(dir, dropped+".body"), body, 0o600),
		os.Remove(filepath.Join(dir, released+".json")),
		os.WriteFile(filepath.Join(dir, "somebody's.body"), body, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, dir)
	left, err := filepath.Glob(filepath.Join(dir, "*.body"))
	if err != nil || len(left) != 2 || !slices.Contains(left, filepath.Join(dir, kept+".body")) || !slices.Contains(left, filepath.Join(dir, "somebody's.body")) {
		t.Errorf("bodies %v", left)
	}
	if u := s.Usage(); u.Files != 1 || u.Bytes != 5 {
		t.Errorf("%+v", u)
	}
}

func TestOldestLeaveForRoom(t *testing.T) {
	for name, o := range map[string]quarantine.Options{"files": {MaxFiles: 3}, "bytes": {MaxBytes: 35}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := openWith(t, t.TempDir(), o)
				var all []string
				for i := range 9 {
					all = append(all, keep(t, s, i, 10))
					time.Sleep(time.Second)
				}
				if got := ids(t, s, false); !slices.Equal(got, []string{all[8], all[7], all[6]}) {
					t.Errorf("kept %v of %v", got, all)
				}
				if n := s.Left()[quarantine.LeftQuota]; n != 6 {
					t.Errorf("%d left", n)
				}
				if n := len(ids(t, s, true)); o.MaxFiles > 0 && n != 3 || o.MaxFiles == 0 && n != 6 {
					t.Errorf("%d that left are on record", n)
				}
				if id := keep(t, s, 99, 100); o.MaxBytes > 0 && len(ids(t, s, false)) > 0 {
					t.Errorf("%s, larger than all there is, is kept", id)
				}
			})
		})
	}
}

// Files are kept, and others leave, although the oldest cannot be read any more.
func TestDamagedEntryDoesNotJamTheQuarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var said strings.Builder
		s := openWith(t, dir, quarantine.Options{MaxFiles: 3, Log: slog.New(slog.NewTextHandler(&said, nil))})
		var all []string
		for i := range 6 {
			all = append(all, keep(t, s, i, 10))
			if i == 0 {
				if err := os.WriteFile(filepath.Join(dir, all[0]+".json"), []byte("{"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
		}
		got, err := s.List(false) // the damaged one is in the error
		if err == nil || len(got) != 2 || got[0].ID != all[5] || got[1].ID != all[4] || s.Usage().Files != 3 || s.Left()[quarantine.LeftQuota] != 3 {
			t.Errorf("%v: %+v of %v, %+v, %v", err, got, all, s.Usage(), s.Left())
		}
		if !strings.Contains(said.String(), "level=ERROR") || !strings.Contains(said.String(), all[0]) {
			t.Errorf("nobody is told of %s: %s", all[0], said.String())
		}
	})
}

func TestOldLeaveByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openWith(t, t.TempDir(), quarantine.Options{MaxAge: time.Hour})
		old := keep(t, s, 1, 5)
		time.Sleep(40 * time.Minute)
		young := keep(t, s, 2, 5)
		time.Sleep(30 * time.Minute)
		if err := s.Expire(time.Now()); err != nil || !slices.Equal(ids(t, s, false), []string{young}) || !slices.Equal(ids(t, s, true), []string{old}) {
			t.Errorf("%v: kept %v, left %v", err, ids(t, s, false), ids(t, s, true))
		}
		time.Sleep(61 * time.Minute)
		if err := s.Expire(time.Now()); err != nil || len(ids(t, s, false)) > 0 || !slices.Equal(ids(t, s, true), []string{young}) {
			t.Errorf("%v: kept %v, left %v", err, ids(t, s, false), ids(t, s, true))
		}
	})
}

// How a file left stays on record although the same bytes come again, and when
// they leave by another way.
func TestFormerStaysAreOnRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir)
		stay := func(by string) (id string) {
			time.Sleep(time.Second)
			id = keep(t, s, 1, 5)
			if by == "" {
				return id
			}
			if err := s.Drop(id, by); err != nil {
				t.Fatal(err)
			}
			return id
		}
		who := func(s *quarantine.Store) (out []string) {
			entries, err := s.List(true)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				out = append(out, e.Left.By)
			}
			return out
		}
		stay("bob")
		stay("eve")
		id := stay("")
		for _, s := range []*quarantine.Store{s, open(t, dir)} {
			if got := who(s); !slices.Equal(got, []string{"eve", "bob"}) || !slices.Equal(ids(t, s, false), []string{id}) {
				t.Errorf("%q left", got)
			}
		}
		if err := s.Forget(id); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*quarantine.Store{s, open(t, dir)} {
			if got := who(s); !slices.Equal(got, []string{"eve", "bob"}) || len(ids(t, s, false)) > 0 || s.Usage().Files > 0 {
				t.Errorf("%q left, once it was released", got)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*.body")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		for i := range 12 {
			stay(fmt.Sprint(i))
		}
		if got := who(s); len(got) != 10 || got[0] != "11" || got[9] != "2" {
			t.Errorf("%q left; want the last ten", got)
		}
		stay("")
		if r, err := s.Record(); err != nil || len(r.Left[id]) != 10 || r.Left[id][9].Left.By != "11" || r.Here[id].IsZero() {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// What cannot be read may be here.
func TestRecordHasWhatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	id := keep(t, s, 1, 5)
	if err := os.WriteFile(filepath.Join(dir, id+".json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := s.Record()
	if since, here := r.Here[id]; err != nil || !here || !since.IsZero() || len(r.Left) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
