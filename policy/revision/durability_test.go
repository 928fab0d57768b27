package revision_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"inventorybeacon/policy"
	"inventorybeacon/policy/bundle"
	"inventorybeacon/policy/revision"
	"inventorybeacon/policy/wire"

	"github.com/klauspost/compress/zstd"
)

func gunzip(t *testing.T, b []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func unzstd(t *testing.T, b []byte) []byte {
	t.Helper()
	r, err := zstd.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const childEnv = "POLICY_STORE_OF_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := publishForEver(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// publishForEver publishes generation after generation and says which is in
// force, until it is killed.
func publishForEver(dir string) error {
	s, err := revision.Open(dir, revision.Options{})
	if err != nil {
		return err
	}
	from, err := os.MkdirTemp(os.Getenv("POLICY_SCRATCH"), "child")
	if err != nil {
		return err
	}
	for n := int(s.Current().Revision().Number) + 1; ; n++ {
		if err := os.WriteFile(filepath.Join(from, "bundle.yaml"), []byte(generationOf(n)), 0o644); err != nil {
			return err
		}
		b, err := bundle.OpenIn(context(), from, s.Scratch())
		if err != nil {
			return err
		}
		res, err := s.Publish(context(), b, "child", "")
		if err != nil {
			return err
		}
		if err := b.Close(); err != nil {
			return err
		}
		fmt.Println(n, res.Revision.Number)
	}
}

func generationOf(n int) string {
	return fmt.Sprintf("bundle: a\nschedule:\n  - {event: g%d, run: policy, triggers: [{type: now}]}\nsettings: {S: {A: g%d}}\n", n, n)
}

// The process that publishes is killed at any moment. What it said was in
// force, or a later one, is in force after a restart, and it is whole.
func TestKilledPublicationLeavesAWholeRevision(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	dir := t.TempDir()
	said := 0
	for round := range 8 {
		said = max(said, killWhilePublishing(t, dir, 1+round%4, time.Duration(round*round*300)*time.Microsecond))
		s, err := revision.Open(dir, revision.Options{})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if s.Damage() != nil {
			t.Errorf("round %d: %v", round, s.Damage())
		}
		got := listed(t, s.Current(), oursQuery)
		sched, err := wire.ReadSchedule([]byte(got["Schedules/Default Machine Schedule"]))
		if err != nil {
			t.Fatal(err)
		}
		set, err := wire.ReadSettings([]byte(got["ClientSettings/Default Client Settings/Default Client Settings"]))
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.Atoi(strings.TrimPrefix(sched.Events[0].Name, "g"))
		if set["S"]["A"] != sched.Events[0].Name || n < said {
			t.Fatalf("round %d: schedule %s with settings %s, and %d was said to be in force", round, sched.Events[0].Name, set["S"]["A"], said)
		}
		if left, err := os.ReadDir(s.Scratch()); err != nil || len(left) != 0 {
			t.Errorf("round %d: left behind: %v %v", round, left, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d publications were said to be in force", said)
}

// killWhilePublishing kills a publishing process some time after it has said
// so many publications, and returns the last that it said.
func killWhilePublishing(t *testing.T, dir string, publications int, after time.Duration) (said int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir, "POLICY_SCRATCH="+t.TempDir())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for i := 0; lines.Scan(); i++ {
		var n, number int
		if _, err := fmt.Sscan(lines.Text(), &n, &number); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		said = n
		if i+1 == publications {
			time.AfterFunc(after, func() { cmd.Process.Kill() })
		}
	}
	cmd.Wait() // killed
	return said
}

func TestStoreHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, newClock())
	if second, err := revision.Open(dir, revision.Options{}); err == nil {
		second.Close()
		t.Fatal("two processes own one store")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	openStore(t, dir, newClock())
}

// damaged publishes two revisions, lets harm hurt the store and opens it again.
func damaged(t *testing.T, harm func(dir string)) *revision.Store {
	t.Helper()
	dir, c := t.TempDir(), newClock()
	s := openStore(t, dir, c)
	publish(t, s, manifest("a", "settings: {S: {A: g1}}\n"+poll))
	publish(t, s, map[string]string{"bundle.yaml": "bundle: a\nsettings: {S: {A: g2}}\n" + poll, "Schedules/x.nds": "ready"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	harm(dir)
	return openStore(t, dir, c)
}

func overwrite(t *testing.T, text string, path ...string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(path...), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func objectOf(t *testing.T, dir, text string) string {
	t.Helper()
	ents, err := os.ReadDir(filepath.Join(dir, "objects"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range ents {
		if b, err := os.ReadFile(filepath.Join(dir, "objects", e.Name())); err == nil && string(b) == text {
			return filepath.Join(dir, "objects", e.Name())
		}
	}
	t.Fatalf("no object holds %q", text)
	return ""
}

func TestDamageLeavesTheLastWholeRevision(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, dir string){
		"pointer is garbage":    func(t *testing.T, dir string) { overwrite(t, "{", dir, "current") },
		"pointer is empty":      func(t *testing.T, dir string) { overwrite(t, "", dir, "current") },
		"pointer leads outside": func(t *testing.T, dir string) { overwrite(t, `{"version":1,"manifest":"../../x"}`, dir, "current") },
		"manifest is cut":       func(t *testing.T, dir string) { overwrite(t, `{"version":1,`, dir, "revisions", "1-2.json") },
		"manifest is another's": func(t *testing.T, dir string) {
			b, err := os.ReadFile(filepath.Join(dir, "revisions", "1-1.json"))
			if err != nil {
				t.Fatal(err)
			}
			overwrite(t, string(b), dir, "revisions", "1-2.json")
		},
		"object is changed": func(t *testing.T, dir string) { overwrite(t, "other", objectOf(t, dir, "ready")) },
		"object is gone": func(t *testing.T, dir string) {
			if err := os.Remove(objectOf(t, dir, "ready")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := damaged(t, func(dir string) { harm(t, dir) })
			e, err := s.Current().Effective(oursQuery)
			if err != nil {
				t.Fatal(err)
			}
			got, broken := e.Settings["S"]["A"], s.Damage() != nil
			// Where only the pointer is hurt, the newest revision is whole.
			want := "g1"
			if strings.HasPrefix(name, "pointer") {
				want = "g2"
			}
			if got != want || !broken {
				t.Errorf("in force: %s, want %s; damage: %v", got, want, s.Damage())
			}
			res := publish(t, s, map[string]string{"bundle.yaml": "bundle: a\nsettings: {S: {A: g2}}\n" + poll, "Schedules/x.nds": "ready"})
			if !res.Changed || res.Revision.Number != 3 || s.Damage() != nil {
				t.Errorf("published again: %+v, damage %v", res, s.Damage())
			}
			if got := body(t, get(t, s.Current(), "Schedules/x.nds")); got != "ready" {
				t.Errorf("object is %q", got)
			}
		})
	}
	t.Run("its twin is whole", func(t *testing.T) {
		if s := damaged(t, func(string) {}); s.Damage() != nil || s.Current().Revision().Number != 2 {
			t.Errorf("%v", s.Damage())
		}
	})
}

func TestNewerStoreIsNotTouched(t *testing.T) {
	for _, file := range []string{"identity", "current"} {
		t.Run(file, func(t *testing.T) {
			dir := t.TempDir()
			s := openStore(t, dir, newClock())
			publish(t, s, manifest("a", poll))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			overwrite(t, strings.Replace(string(b), `"version":1`, `"version":2`, 1), dir, file)
			overwrite(t, "unfinished", dir, "objects", "x.tmp")
			before := listing(t, dir)
			if s, err := revision.Open(dir, revision.Options{}); !errors.Is(err, policy.ErrTooNew) {
				if s != nil {
					s.Close()
				}
				t.Fatalf("%v, want too new", err)
			}
			if after := listing(t, dir); after != before {
				t.Errorf("changed:\n%s\nwas\n%s", after, before)
			}
		})
	}
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(p)
		fmt.Fprintf(&b, "%s %x\n", p, text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTempsAreSweptAndUnknownFilesLeft(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, newClock())
	publish(t, s, manifest("a", poll))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	overwrite(t, "x", dir, "objects", ".abc.XYZ.tmp")
	overwrite(t, "x", dir, "revisions", "notes.txt")
	openStore(t, dir, newClock())
	if _, err := os.Stat(filepath.Join(dir, "objects", ".abc.XYZ.tmp")); err == nil {
		t.Error("a temporary file is left")
	}
	if _, err := os.Stat(filepath.Join(dir, "revisions", "notes.txt")); err != nil {
		t.Error("somebody's file is gone")
	}
}
