package revision_test

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"inventorybeacon/policy"
	"inventorybeacon/policy/bundle"
	"inventorybeacon/policy/revision"
	"inventorybeacon/policy/wire"
)

const samples = "../../testdata/bundles"

// A clock is the time that a store is told.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 3, 2, 8, 15, 0, 500, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func openStore(t testing.TB, dir string, c *clock) *revision.Store {
	t.Helper()
	s, err := revision.Open(dir, revision.Options{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// publish publishes a folder with these files, or the sample of that name.
func publish(t testing.TB, s *revision.Store, files map[string]string) revision.Result {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "dropped")
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return publishDir(t, s, dir)
}

func publishDir(t testing.TB, s *revision.Store, dir string) revision.Result {
	t.Helper()
	b, err := bundle.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	res, err := s.Publish(t.Context(), b, "test", "")
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func manifest(name, more string) map[string]string {
	return map[string]string{"bundle.yaml": "bundle: " + name + "\n" + more}
}

const poll = `schedule:
  - {event: Poll, run: policy, triggers: [{type: daily, at: "00:05"}]}
`

func body(t testing.TB, o *revision.Object) string {
	t.Helper()
	r, err := o.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil || int64(len(b)) != o.Size {
		t.Fatalf("%d bytes of %d, %v", len(b), o.Size, err)
	}
	return string(b)
}

func get(t testing.TB, s *revision.Snapshot, path string) *revision.Object {
	t.Helper()
	o, err := s.File(path)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return o
}

var oursQuery = policy.Query{Domain: "EXAMPLE", Device: "ws1", Ours: true, OS: "linux", Arch: "amd64"}
var oldQuery = policy.Query{Domain: "EXAMPLE", Device: "ws1"}

// listed follows a policy to its bodies, as a device does, and returns them by
// the folder of their package.
func listed(t testing.TB, s *revision.Snapshot, q policy.Query) map[string]string {
	t.Helper()
	o, err := s.Policy(q)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := wire.ReadPolicy([]byte(body(t, o)))
	if err != nil {
		t.Fatal(err)
	}
	bodies := map[string]string{}
	for _, p := range doc.Packages {
		osdPath, err := wire.Path(p.Href)
		if err != nil {
			t.Fatal(err)
		}
		osd := get(t, s, osdPath)
		c, err := wire.ReadCatalogue([]byte(body(t, osd)))
		if err != nil {
			t.Fatal(err)
		}
		at, err := wire.Resolve(osdPath, c.Href)
		if err != nil {
			t.Fatal(err)
		}
		if !osd.Immutable || osd.Private {
			t.Errorf("%s: immutable %v, private %v", osdPath, osd.Immutable, osd.Private)
		}
		bodies[strings.SplitN(osdPath, "~", 2)[0]] = body(t, get(t, s, at))
	}
	return bodies
}

func TestDeviceIsToldWhatApplies(t *testing.T) {
	s := openStore(t, t.TempDir(), newClock())
	if _, err := s.Current().Policy(oursQuery); !errors.Is(err, policy.ErrNone) {
		t.Fatalf("before anything is published: %v", err)
	}
	res := publishDir(t, s, filepath.Join(samples, "head-office"))
	if !res.Changed || res.Revision.Number != 1 || res.Revision.Epoch != 1 || res.Revision.Publisher == "" || len(res.Warnings) == 0 {
		t.Errorf("%+v", res)
	}
	now := s.Current()

	ours := listed(t, now, oursQuery)
	if sched, err := wire.ReadSchedule([]byte(ours["Schedules/Default Machine Schedule"])); err != nil || len(sched.Events) != 3 {
		t.Errorf("%v %+v", err, sched)
	}
	if set, err := wire.ReadSettings([]byte(ours["ClientSettings/Default Client Settings/Default Client Settings"])); err != nil || set["Tracker"]["ExcludeExtension"] != ".tmp" {
		t.Errorf("%v %v", err, set)
	}
	if list, err := wire.ReadFailover([]byte(ours["ClientSettings/Default Failover Settings/Default Failover Settings"])); err != nil || len(list.Beacons) != 1 {
		t.Errorf("%v %v", err, list)
	}

	old := listed(t, now, oldQuery)
	if len(old) != 1 {
		t.Errorf("an old agent is offered %d packages, want the schedule alone", len(old))
	}
	text := old["Schedules/Default Machine Schedule"]
	if sched, err := wire.ReadSchedule([]byte(text)); err != nil || len(sched.Events) != 1 || sched.Events[0].Run != "policy" || strings.Contains(text, "BeaconAgent") {
		t.Errorf("%v %s", err, text)
	}
	if _, err := now.File("ClientSettings/Default Failover Settings/Default Failover Settings.osd"); !errors.Is(err, policy.ErrNoFile) {
		t.Errorf("a format of ours is under a name that old agents know: %v", err)
	}
	if plain := get(t, now, "schedules/DEFAULT machine schedule.nds"); body(t, plain) != text || plain.Immutable {
		t.Error("the plain name is not what applies to everyone")
	}
}

func TestPolicySaysOurAgentTheRevision(t *testing.T) {
	s := openStore(t, t.TempDir(), newClock())
	res := publish(t, s, manifest("a", poll))
	o, err := s.Current().Policy(oursQuery)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := wire.ReadPolicy([]byte(body(t, o)))
	if want := res.Revision; err != nil || doc.Revision.Number != 1 || doc.Revision.Publisher != want.Publisher || !doc.Revision.Created.Equal(want.Created) {
		t.Errorf("%v %+v", err, doc.Revision)
	}
	if !o.Private || o.Immutable || !o.Modified.Equal(res.Revision.Created) || o.ContentType != "application/xml" {
		t.Errorf("%+v", o)
	}
	if old, err := s.Current().Policy(oldQuery); err != nil || strings.Contains(body(t, old), "Revision") {
		t.Errorf("an old agent is told: %v %s", err, body(t, old))
	}
}

func TestRepeatMakesNoRevision(t *testing.T) {
	s := openStore(t, t.TempDir(), newClock())
	publish(t, s, manifest("a", poll))
	if res := publish(t, s, manifest("a", poll)); res.Changed || res.Revision.Number != 1 {
		t.Errorf("%+v", res)
	}
	if res := publish(t, s, manifest("a", poll+"priority: 7\n")); !res.Changed || res.Revision.Number != 2 {
		t.Errorf("%+v", res)
	}
	if h := s.History(); len(h) != 2 || h[0].Number != 2 || h[1].Number != 1 {
		t.Errorf("%+v", h)
	}
}

func TestWithdrawnBundleAppliesToNobody(t *testing.T) {
	s := openStore(t, t.TempDir(), newClock())
	publish(t, s, manifest("a", poll))
	if _, err := s.Withdraw(t.Context(), "other", "", ""); !errors.Is(err, policy.ErrNoBundle) {
		t.Errorf("%v", err)
	}
	if res, err := s.Withdraw(t.Context(), "A", "me", "why"); err != nil || res.Revision.Number != 2 || res.Revision.By != "me" {
		t.Errorf("%+v %v", res, err)
	}
	if _, err := s.Current().Policy(oursQuery); !errors.Is(err, policy.ErrNone) {
		t.Errorf("%v", err)
	}
	if len(s.Current().Bundles()) != 0 {
		t.Error("it is still there")
	}
}

func TestTimesOnlyGrowAndUnchangedPartsKeepTheirs(t *testing.T) {
	c := newClock()
	s := openStore(t, t.TempDir(), c)
	first := publish(t, s, manifest("a", poll+"settings: {S: {A: 1}}\n"))
	plain := get(t, s.Current(), "Schedules/Default Machine Schedule.osd")
	packages := listed(t, s.Current(), oursQuery)
	second := publish(t, s, manifest("a", poll+"settings: {S: {A: 2}}\n")) // within the same second
	if gap := second.Revision.Created.Sub(first.Revision.Created); gap != time.Second || first.Revision.Created.Nanosecond() != 0 {
		t.Errorf("%v after the one before", gap)
	}
	again := get(t, s.Current(), "Schedules/Default Machine Schedule.osd")
	if again.ETag != plain.ETag || !again.Modified.Equal(plain.Modified) {
		t.Errorf("the schedule did not change, and is now %s of %v, was %s of %v", again.ETag, again.Modified, plain.ETag, plain.Modified)
	}
	now := listed(t, s.Current(), oursQuery)
	if now["Schedules/Default Machine Schedule"] != packages["Schedules/Default Machine Schedule"] {
		t.Error("the schedule's bytes changed")
	}
	c.pass(-time.Hour) // a clock set back
	third := publish(t, s, manifest("a", ""))
	if !third.Revision.Created.After(second.Revision.Created) {
		t.Errorf("%v is not after %v", third.Revision.Created, second.Revision.Created)
	}
}

// names are the immutable names that a policy of q leads to.
func names(t testing.TB, s *revision.Snapshot, q policy.Query) []string {
	t.Helper()
	o, err := s.Policy(q)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := wire.ReadPolicy([]byte(body(t, o)))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range doc.Packages {
		osd, _ := wire.Path(p.Href)
		c, err := wire.ReadCatalogue([]byte(body(t, get(t, s, osd))))
		if err != nil {
			t.Fatal(err)
		}
		nds, _ := wire.Resolve(osd, c.Href)
		all = append(all, osd, nds)
	}
	return all
}

func TestSupersededObjectIsServedForAWeek(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	s := openStore(t, dir, c)
	publish(t, s, manifest("a", poll+"settings: {S: {A: 1}}\n"))
	publish(t, s, map[string]string{"Schedules/ready.osd": "<SOFTPKG/>", "Schedules/big.bin": strings.Repeat("big", 1<<20)})
	old := append(names(t, s.Current(), oursQuery), "Schedules/ready~"+digest16(get(t, s.Current(), "Schedules/ready.osd"))+".osd")
	publish(t, s, manifest("a", strings.ReplaceAll(poll, "Poll", "Poll more")))
	if _, err := s.Withdraw(t.Context(), "dropped", "", ""); err != nil {
		t.Fatal(err)
	}
	served := func(want bool) {
		t.Helper()
		for _, name := range old {
			o, err := s.Current().File(name)
			if (err == nil) != want {
				t.Errorf("%s: %v, want it served: %v", name, err, want)
			}
			if err == nil {
				body(t, o)
			}
		}
	}
	served(true)
	c.pass(6 * 24 * time.Hour)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, c)
	served(true)
	c.pass(2 * 24 * time.Hour)
	publish(t, s, manifest("b", ""))
	served(false)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, c)
	served(false)
}

func digest16(o *revision.Object) string { return o.ETag[1:17] }

func TestStagingIsServedByteForByte(t *testing.T) {
	s := openStore(t, t.TempDir(), newClock())
	staging := filepath.Join(samples, "staging-sample")
	publishDir(t, s, staging)
	now := s.Current()
	err := filepath.WalkDir(staging, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		want, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(staging, p)
		if got := body(t, get(t, now, strings.ToUpper(filepath.ToSlash(rel)))); got != string(want) {
			t.Errorf("%s differs", rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	is := func(q policy.Query, file string) {
		t.Helper()
		o, err := now.Policy(q)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(staging, file))
		if err != nil {
			t.Fatal(err)
		}
		if same := body(t, o) == string(want); !same || !o.Private || o.ContentType != "application/xml" {
			t.Errorf("%+v is not answered by %s, or not as its own", q, file)
		}
	}
	is(policy.Query{Domain: "ANY", Device: "WS-Lisbon"}, "Policies/ws-lisbon-{5d0c7b1e-4a52-4d0e-9d3b-6f1f0c1b2a77}.npl")
	is(policy.Query{Domain: "ANY", Device: "printserver"}, "Policies/printserver-0A141E28.npl")
	is(policy.Query{Domain: "example", Device: "File Server"}, "Policies/Merged/EXAMPLE_domain/Machine/file server.npl")

	for _, device := range []string{"ws", "ws-porto", "unheard-of"} {
		got := listed(t, now, policy.Query{Domain: "ANY", Device: device})
		if len(got) != 4 {
			t.Errorf("%s: a generated policy lists %d packages, want the four that need no decision", device, len(got))
		}
		for name := range got {
			if strings.HasPrefix(name, "Packages/") {
				t.Errorf("%s: upgrades to %s", device, name)
			}
		}
	}
}

func TestNewestReadyMadePolicyWins(t *testing.T) {
	s := openStore(t, t.TempDir(), newClock())
	dir := filepath.Join(t.TempDir(), "staging")
	for name, age := range map[string]time.Duration{"pc-A1.npl": 3 * time.Hour, "pc-B2.npl": time.Hour, "pc-C3.npl": 2 * time.Hour} {
		p := filepath.Join(dir, "Policies", name)
		at := time.Now().Add(-age)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte("<Policy>"+name+"</Policy>"), 0o644), os.Chtimes(p, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	publishDir(t, s, dir)
	if o, err := s.Current().Policy(policy.Query{Domain: "X", Device: "pc"}); err != nil || !strings.Contains(body(t, o), "pc-B2") {
		t.Errorf("%v %s", err, body(t, o))
	}
}

func TestReadyMadeScheduleGoesByRank(t *testing.T) {
	s := openStore(t, t.TempDir(), newClock())
	publishDir(t, s, filepath.Join(samples, "staging-sample"))
	publish(t, s, manifest("mine", "applies_to: {domains: [MINE]}\n"+poll))
	ready := "Schedules/Default Machine Schedule/Default Machine Schedule"
	made := "Schedules/Default Machine Schedule"
	if got := listed(t, s.Current(), policy.Query{Domain: "MINE", Device: "x"}); got[made] == "" || got[ready] != "" {
		t.Errorf("the bundle that ranks before the staging folder has no say: %d packages", len(got))
	}
	if got := listed(t, s.Current(), policy.Query{Domain: "OTHER", Device: "x"}); got[made] != "" || got[ready] == "" {
		t.Errorf("a device of another domain: %d packages", len(got))
	}
}

func TestAddressIsSaidToDecide(t *testing.T) {
	s := openStore(t, t.TempDir(), newClock())
	publish(t, s, manifest("all", poll))
	publish(t, s, manifest("lab", "applies_to: {domains: [LAB], addresses: [10.0.0.0/8]}\nsettings: {S: {A: 1}}\n"))
	for _, tt := range []struct {
		domain, addr string
		by           bool
		packages     int
	}{{"LAB", "10.1.1.1", true, 2}, {"LAB", "11.1.1.1", true, 1}, {"OFFICE", "10.1.1.1", false, 1}} {
		q := policy.Query{Domain: tt.domain, Device: "x", Ours: true, Address: netip.MustParseAddr(tt.addr)}
		o, err := s.Current().Policy(q)
		if err != nil || o.ByAddress != tt.by || len(listed(t, s.Current(), q)) != tt.packages {
			t.Errorf("%+v: %v, by address %v, %d packages", tt, err, o.ByAddress, len(listed(t, s.Current(), q)))
		}
	}
}

func TestPollCostsNoAllocation(t *testing.T) {
	s := openStore(t, t.TempDir(), newClock())
	publishDir(t, s, filepath.Join(samples, "head-office"))
	publish(t, s, manifest("b", "applies_to: {devices: [\"ws*\"], domains: [EXAMPLE], platforms: [linux]}\nsettings: {S: {A: 1}}\n"))
	publishDir(t, s, filepath.Join(samples, "staging-sample"))
	now := s.Current()
	for _, q := range []policy.Query{oursQuery, oldQuery, {Domain: "EXAMPLE", Device: "Printserver"}} {
		if n := testing.AllocsPerRun(100, func() {
			if _, err := now.Policy(q); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%v allocations, want none", n)
		}
	}
}

func BenchmarkPolicy(b *testing.B) {
	s := openStore(b, b.TempDir(), newClock())
	publishDir(b, s, filepath.Join(samples, "head-office"))
	now := s.Current()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := now.Policy(oursQuery); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func TestVariantsDecodeToTheSame(t *testing.T) {
	s := openStore(t, t.TempDir(), newClock())
	publishDir(t, s, filepath.Join(samples, "head-office"))
	o := get(t, s.Current(), "Schedules/Default Machine Schedule.nds")
	if o.Gzip == nil || o.Zstd == nil {
		t.Fatal("a schedule gains nothing from coding")
	}
	if o.Gzip.ETag == o.ETag || o.Gzip.ETag == o.Zstd.ETag {
		t.Error("two representations have one ETag")
	}
	if got := gunzip(t, o.Gzip.Body); !bytes.Equal(got, o.Body) {
		t.Error("gzip differs")
	}
	if got := unzstd(t, o.Zstd.Body); !bytes.Equal(got, o.Body) {
		t.Error("zstd differs")
	}
}

func TestLargeFileStaysOnDisk(t *testing.T) {
	s := openStore(t, t.TempDir(), newClock())
	text := strings.Repeat("0123456789", 1<<18)
	publish(t, s, map[string]string{"Packages/Big/1.0/Big.ndc": text, "Packages/Big/1.0/Big.osd": "<SOFTPKG/>"})
	o := get(t, s.Current(), "packages/big/1.0/big.NDC")
	if o.Body != nil || o.Gzip != nil {
		t.Error("it is in memory")
	}
	if body(t, o) != text {
		t.Error("it differs")
	}
}

func TestHiddenFileIsToldOf(t *testing.T) {
	s := openStore(t, t.TempDir(), newClock())
	publish(t, s, map[string]string{"bundle.yaml": "bundle: a\npriority: 10\n", "Schedules/x.osd": "<SOFTPKG NAME='a'/>"})
	res := publish(t, s, map[string]string{"bundle.yaml": "bundle: b\npriority: 5\n", "Schedules/X.osd": "<SOFTPKG NAME='b'/>"})
	if !slices.ContainsFunc(res.Warnings, func(w string) bool { return strings.Contains(w, "hidden by that of bundle b") }) {
		t.Errorf("%q", res.Warnings)
	}
	if got := body(t, get(t, s.Current(), "Schedules/x.osd")); !strings.Contains(got, "'b'") {
		t.Errorf("%s", got)
	}
}

// Readers must see one revision or another, never a mixture, while
// publications go on.
func TestReadersSeeWholeRevisions(t *testing.T) {
	s := openStore(t, t.TempDir(), newClock())
	publish(t, s, manifest("a", strings.ReplaceAll(poll, "Poll", "g0")+"settings: {S: {A: g0}}\n"))
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				got := listed(t, s.Current(), oursQuery)
				sched, err := wire.ReadSchedule([]byte(got["Schedules/Default Machine Schedule"]))
				set, err2 := wire.ReadSettings([]byte(got["ClientSettings/Default Client Settings/Default Client Settings"]))
				if err != nil || err2 != nil || sched.Events[0].Name != set["S"]["A"] {
					t.Errorf("%v %v: %v with %v", err, err2, sched, set)
					return
				}
			}
		})
	}
	for _, g := range []string{"g1", "g2", "g3", "g4", "g5", "g6"} {
		publish(t, s, manifest("a", strings.ReplaceAll(poll, "Poll", g)+"settings: {S: {A: "+g+"}}\n"))
	}
	close(stop)
	wg.Wait()
}

// Bundles that overlap in more ways than are made beforehand still reach every
// device; a device is never offered what is then not there.
func TestManyOverlapsAreMadeWhenAskedFor(t *testing.T) {
	s := openStore(t, t.TempDir(), newClock())
	var res revision.Result
	for letter := range strings.SplitSeq("abcdefghijk", "") {
		res = publish(t, s, manifest(letter, "applies_to: {devices: [\"*"+letter+"*\"]}\nsettings: {S: {"+letter+": x}}\n"))
	}
	if !slices.ContainsFunc(res.Warnings, func(w string) bool { return strings.Contains(w, "overlap") }) {
		t.Errorf("nobody is told: %q", res.Warnings)
	}
	for device, want := range map[string]int{"a": 1, "face": 4, "abcdefghijk": 11} {
		got := listed(t, s.Current(), policy.Query{Domain: "X", Device: device, Ours: true})
		set, err := wire.ReadSettings([]byte(got["ClientSettings/Default Client Settings/Default Client Settings"]))
		if err != nil || len(set["S"]) != want {
			t.Errorf("%s: %v, %d settings, want %d", device, err, len(set["S"]), want)
		}
	}
	kept := names(t, s.Current(), policy.Query{Domain: "X", Device: "abcdefghijk", Ours: true})
	publish(t, s, manifest("a", ""))
	for _, name := range kept {
		get(t, s.Current(), name)
	}
}
