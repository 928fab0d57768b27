package pull

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"inventorybeacon/policy"
)

func openStore(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func fetched(t *testing.T, n uint64, event string) *Policy {
	t.Helper()
	bodies := whole(t)
	bodies["Schedules/Default Machine Schedule.nds"] = poll(t, event)
	tr := &tree{}
	tr.set(files(t, revision(n), bodies))
	return mustFetch(t, client(t), serve(t, tr), nil)
}

func TestStoreKeepsLastGoodPolicy(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	if p, err := s.Load(); p != nil || err != nil {
		t.Fatalf("empty store: %v, %v", p, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Fatalf("empty store holds %v, %v", entries, err)
	}
	for n, event := range []string{"first", "second"} {
		p := fetched(t, uint64(n+1), event)
		if err := s.Keep(p); err != nil {
			t.Fatal(err)
		}
		got, err := openStore(t, dir).Load()
		if err != nil || got.Revision != p.Revision || got.Digest != p.Digest || got.Events[0].Name != event || got.Documents[0].ETag == "" {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 8 {
		t.Errorf("after the second policy: %v, %v", entries, err)
	}
}

func TestStoreNoticesDamage(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, dir string)
	}{
		{"body changed", func(t *testing.T, dir string) {
			bodies, err := filepath.Glob(filepath.Join(dir, "*.nds"))
			if err != nil || len(bodies) == 0 {
				t.Fatal(bodies, err)
			}
			b, err := os.ReadFile(bodies[0])
			if err != nil {
				t.Fatal(err)
			}
			write(t, bodies[0], string(b)+" ") // it can still be read
		}},
		{"body gone", func(t *testing.T, dir string) {
			bodies, _ := filepath.Glob(filepath.Join(dir, "*.osd"))
			if err := os.Remove(bodies[0]); err != nil {
				t.Fatal(err)
			}
		}},
		{"manifest cut", func(t *testing.T, dir string) { write(t, filepath.Join(dir, manifestFile), `{"version": 1, "docu`) }},
		{"manifest empty", func(t *testing.T, dir string) { write(t, filepath.Join(dir, manifestFile), `{}`) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := openStore(t, dir)
			p := fetched(t, 1, "first")
			if err := s.Keep(p); err != nil {
				t.Fatal(err)
			}
			tt.damage(t, dir)
			if got, err := s.Load(); err == nil || got != nil {
				t.Fatalf("%v, %v", got, err)
			}
			if err := s.Keep(p); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Load(); err != nil {
				t.Errorf("after keeping it again: %v", err)
			}
		})
	}
}

func TestStoreRefusesNewerFormat(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, manifestFile), `{"version": 2}`)
	if _, err := openStore(t, dir).Load(); !errors.Is(err, policy.ErrTooNew) {
		t.Errorf("%v", err)
	}
}

func TestStoreLeavesUnknownFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "notes.txt"), "mine")
	s := openStore(t, dir)
	if err := s.Keep(fetched(t, 1, "first")); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "notes.txt")); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
}

func write(t *testing.T, path, s string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
		t.Fatal(err)
	}
}
