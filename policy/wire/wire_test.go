package wire_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"inventorybeacon/policy"
	"inventorybeacon/policy/wire"
	"inventorybeacon/schedule"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../testdata/wire", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ours are values that use everything, with signs that need care.
var (
	created = time.Date(2026, 3, 2, 8, 15, 0, 0, time.UTC)

	plainPolicy = wire.Policy{GUID: wire.GUID("a"), Packages: []wire.Package{
		{Href: wire.Href("Schedules/Default Machine Schedule~0123456789abcdef.osd"), ObjectID: wire.GUID("b")},
	}}
	ourPolicy = wire.Policy{
		GUID:     wire.GUID("c"),
		Packages: []wire.Package{{Href: wire.Href("ClientSettings/Grüße & \"more\"/a b%.osd"), ObjectID: wire.GUID("d"), SHA256: strings.Repeat("ab", 32)}},
		Revision: policy.Revision{Publisher: "p1", Epoch: 2, Number: 7, Created: created},
	}
	catalogue = wire.Catalogue{
		Name: "Default <Machine> Schedule", Type: "Schedule", Version: "1,0,0,0", Href: wire.Href("Schedules/x y.nds"), Size: 1234,
		MD5: strings.Repeat("0f", 16), SHA256: strings.Repeat("f0", 32),
	}
	everyTrigger = wire.Schedule{Name: "Default Machine Schedule", Created: created, Events: []schedule.Event{
		{ID: schedule.EventID("Poll"), Name: "Poll", Run: "policy", Catchup: schedule.Once, Triggers: []schedule.Trigger{
			{Type: schedule.TypeDaily, At: schedule.Clock(5 * time.Minute), Repeat: 12 * time.Hour, For: 24 * time.Hour, Window: time.Hour},
			{Type: schedule.TypeDaily, At: schedule.Clock(6*time.Hour + 30*time.Second), Every: 3},
			{Type: schedule.TypeOnce, At: schedule.Clock(time.Hour), Start: schedule.Date{Year: 2026, Month: 5, Day: 1}},
			{Type: schedule.TypeLogon}, {Type: schedule.TypeConnect, Window: time.Minute}, {Type: schedule.TypeNow}, {Type: schedule.TypeStartup},
		}},
		{ID: schedule.EventID("Take <it> & \"send\""), Name: "Take <it> & \"send\"", Run: "inventory", Triggers: []schedule.Trigger{
			{Type: schedule.TypeWeekly, At: schedule.Clock(9 * time.Hour), Every: 2, Weekdays: []time.Weekday{time.Sunday, time.Thursday}},
			{Type: schedule.TypeMonthly, At: schedule.Clock(9 * time.Hour), Days: []int{1, 15}},
		}},
		{ID: schedule.EventID("Rescan"), Name: "Rescan", Run: "command:rescan", Triggers: []schedule.Trigger{{Type: schedule.TypeConnect}}},
	}}
	settings = policy.Settings{"Tracker": {"IncludeDirectory": "/opt;/srv", "Odd": " tab\tline\nquote\"<&> "}, "Empty": {}}
	list     = policy.Failover{Selector: "MgsPing;MgsSubnetMatch(3,true)", Beacons: []policy.Beacon{
		{Name: "b1", Download: "https://b1.example.com/ManageSoftDL", Upload: "https://b1.example.com/ManageSoftRL", Priority: 10},
		{Name: "b&2", Download: "http://b2.example.com:8080/dl", Upload: "http://b2.example.com:8080/rl", Auto: true, Invalid: true, Proxy: "http://proxy:3128"},
	}}
)

func written(t testing.TB) map[string][]byte {
	t.Helper()
	must := func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	classic, _ := wire.Classic(everyTrigger)
	return map[string][]byte{
		"policy.npl":           must(plainPolicy.Bytes()),
		"policy-ours.npl":      must(ourPolicy.Bytes()),
		"catalogue.osd":        must(catalogue.Bytes()),
		"schedule-ours.nds":    must(everyTrigger.Bytes()),
		"schedule-classic.nds": must(classic.Bytes()),
		"settings.nds":         must(wire.WriteSettings(settings)),
		"failover.nds":         must(wire.WriteFailover(list)),
	}
}

func TestWrittenDocumentsAreAsTheyWere(t *testing.T) {
	for name, got := range written(t) {
		t.Run(name, func(t *testing.T) {
			golden := filepath.Join("testdata", "golden", name)
			if *update {
				if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestWrittenDocumentsAreAcceptedByAnotherParser(t *testing.T) {
	xmllint, err := exec.LookPath("xmllint")
	if err != nil {
		t.Skip("xmllint is not installed (`make test` installs it): what is written was NOT judged by another parser")
	}
	judge := func(t *testing.T, name string, b []byte) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
		said, err := exec.CommandContext(t.Context(), xmllint, "--noout", "--nonet", file).CombinedOutput()
		if err != nil && len(said) == 0 {
			t.Fatal(err)
		}
		return string(said)
	}
	for name, b := range written(t) {
		t.Run(name, func(t *testing.T) {
			if said := judge(t, name, b); said != "" {
				t.Errorf("xmllint: %s", said)
			}
		})
	}
	t.Run("it does object to the incumbent's", func(t *testing.T) {
		if judge(t, "schedule.osd", fixture(t, "schedule.osd")) == "" {
			t.Error("xmllint says nothing about NETDEPLOY::CHECKSUM")
		}
	})
}

func TestWrittenDocumentsAreReadBack(t *testing.T) {
	docs := written(t)
	for name, want := range map[string]wire.Policy{"policy.npl": plainPolicy, "policy-ours.npl": ourPolicy} {
		got, err := wire.ReadPolicy(docs[name])
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Error(name, err, d)
		}
	}
	if got, err := wire.ReadCatalogue(docs["catalogue.osd"]); err != nil || got != catalogue {
		t.Errorf("%v\n%+v\n%+v", err, got, catalogue)
	}
	if got, err := wire.ReadSettings(docs["settings.nds"]); err != nil || cmp.Diff(settings, got) != "" {
		t.Error(err, cmp.Diff(settings, got))
	}
	if got, err := wire.ReadFailover(docs["failover.nds"]); err != nil || cmp.Diff(list, got) != "" {
		t.Error(err, cmp.Diff(list, got))
	}
	if got, err := wire.ReadSchedule(docs["schedule-ours.nds"]); err != nil || cmp.Diff(everyTrigger, got) != "" {
		t.Error(err, cmp.Diff(everyTrigger, got))
	}
}

func TestOldAgentIsToldNothingThatIsNotPublic(t *testing.T) {
	classic, left := wire.Classic(everyTrigger)
	b, err := classic.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, guess := range []string{"BeaconAgent", "Startup", "Weekly", "Monthly", "WEEKDAYS", "DAYS=", `CATCHUP="Once"`} {
		if strings.Contains(text, guess) {
			t.Errorf("%s is in it:\n%s", guess, text)
		}
	}
	if n := strings.Count(text, `COMPONENT="PolicyClient" ACTION="Apply"`); n != 1 {
		t.Errorf("%d policy commands, want 1", n)
	}
	if n, started := strings.Count(text, "<Trigger"), strings.Count(text, "DATESTART"); n != 6 || started != n {
		t.Errorf("%d triggers, %d with a first day; want 6 of 6, as in every public example", n, started)
	}
	if len(left) != 4 { // startup, catch-up, two events
		t.Errorf("left out: %q", left)
	}
	if err := errEvents(classic); err != "" {
		t.Error(err)
	}
}

func errEvents(s wire.Schedule) string {
	for _, e := range s.Events {
		for _, m := range e.Validate() {
			return e.Name + ": " + m.Error()
		}
	}
	return ""
}

func TestIncumbentsPolicyIsRead(t *testing.T) {
	for _, name := range []string{"device.npl", "device-utf16.npl", "device-mislabelled.npl"} {
		t.Run(name, func(t *testing.T) {
			p, err := wire.ReadPolicy(fixture(t, name))
			if err != nil {
				t.Fatal(err)
			}
			if p.GUID != "{9f3a1c52-0b6d-4e1f-8c29-51d0a3e4b6f8}" && p.GUID != "{8f3a1c52-0b6d-4e1f-8c29-51d0a3e4b6f8}" || len(p.Packages) != 4 || !p.Revision.IsZero() {
				t.Fatalf("%+v", p)
			}
			path, err := wire.Path(p.Packages[3].Href)
			if err != nil || path != "ClientSettings/Default Failover Settings/Default Failover Settings.osd" || p.Packages[3].Folder() != "ClientSettings" {
				t.Errorf("%q %v", path, err)
			}
		})
	}
}

func TestIncumbentsCatalogueIsRead(t *testing.T) {
	c, err := wire.ReadCatalogue(fixture(t, "schedule.osd"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "Default Machine Schedule" || c.Type != "Schedule" || len(c.MD5) != 32 || c.Href != "Default Machine Schedule.nds" || c.Size != -1 {
		t.Errorf("%+v", c)
	}
	if p, err := wire.Resolve("Schedules/A B/c.osd", c.Href); err != nil || p != "Schedules/A B/Default Machine Schedule.nds" {
		t.Errorf("%q %v", p, err)
	}
}

func TestIncumbentsScheduleIsRead(t *testing.T) {
	s, err := wire.ReadSchedule(fixture(t, "schedule.nds"))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Events) != 2 || !s.Created.Equal(created) {
		t.Fatalf("%+v", s)
	}
	poll := s.Events[0]
	want := schedule.Trigger{
		Type: schedule.TypeDaily, At: schedule.Clock(15 * time.Minute), Start: schedule.Date{Year: 2026, Month: 3, Day: 2},
		Repeat: 6 * time.Hour, For: 24 * time.Hour, Window: time.Hour,
	}
	if poll.Run != "policy" || len(poll.Triggers) != 4 || cmp.Diff(want, poll.Triggers[0]) != "" {
		t.Errorf("%+v", poll)
	}
	if wrong := errEvents(wire.Schedule{Events: s.Events[:1]}); wrong != "" {
		t.Error(wrong)
	}
	if scan := s.Events[1]; scan.Run != "" || scan.Args != "Tracker/Scan -o UserInteractionLevel=Quiet" || scan.Idle != time.Minute {
		t.Errorf("a command nobody knows is run as something: %+v", scan)
	}
}

func TestReaderRefusesAttacks(t *testing.T) {
	good := `<!DOCTYPE Policy PUBLIC "Policy" "http://www.managesoft.com/policy.dtd"><Policy><Policy GUID="g"/></Policy>`
	if _, err := wire.ReadPolicy([]byte(good)); err != nil {
		t.Fatalf("the harmless twin: %v", err)
	}
	deep := strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100)
	for name, doc := range map[string]string{
		"internal subset":       `<!DOCTYPE Policy [<!ENTITY a "b">]><Policy/>`,
		"subset behind an id":   `<!DOCTYPE Policy SYSTEM "x" [<!ENTITY a "b">]><Policy/>`,
		"late declaration":      `<Policy><!DOCTYPE a [ ]></Policy>`,
		"too deep":              "<Policy>" + deep + "</Policy>",
		"too many elements":     "<Policy>" + strings.Repeat("<a/>", 200_001) + "</Policy>",
		"too many attributes":   "<Policy " + strings.Repeat(`a="" `, 300) + "/>",
		"too large":             "<Policy>" + strings.Repeat(" ", wire.MaxBytes) + "</Policy>",
		"cut":                   good[:len(good)-3],
		"cut in a value":        `<Policy GUID="g`,
		"two roots":             `<Policy/><Policy/>`,
		"crossed":               `<Policy><a><b></a></b></Policy>`,
		"another document":      `<Schedule/>`,
		"nothing":               ``,
		"text only":             `hello`,
		"neither UTF-8 nor -16": "<Policy>\xff\xff</Policy>",
		"half a character":      "\xff\xfe<\x00P",
	} {
		t.Run(name, func(t *testing.T) {
			if p, err := wire.ReadPolicy([]byte(doc)); err == nil {
				t.Errorf("taken: %+v", p)
			}
		})
	}
}

func TestReferenceIsNotExpandedTwice(t *testing.T) {
	got, err := wire.ReadSettings([]byte(`<Settings Schema="1"><Section Name="s"><Setting Name="a" Value="&amp;lt; &#x41;&#0;&unknown; AT&T"/></Section></Settings>`))
	if want := "&lt; A&#0;&unknown; AT&T"; err != nil || got["s"]["a"] != want {
		t.Errorf("%q, %v; want %q", got["s"]["a"], err, want)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	_, err := wire.ReadSettings([]byte(`<Settings Schema="2"/>`))
	if err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("settings: %v", err)
	}
	if _, err := wire.ReadFailover([]byte(`<Failover Schema="2"/>`)); err == nil {
		t.Error("failover of schema 2 is taken")
	}
}

func TestPathStaysBelowTheRoot(t *testing.T) {
	for href, want := range map[string]string{
		"$(DownloadRootURL)/Schedules/a%20b.osd": "Schedules/a b.osd",
		"$(DownloadRootURL)/Schedules/a b.osd":   "Schedules/a b.osd",
		"/Schedules/a.osd":                       "Schedules/a.osd",
	} {
		if got, err := wire.Path(href); err != nil || got != want {
			t.Errorf("%s: %q %v", href, got, err)
		}
	}
	for _, href := range []string{
		"", "$(DownloadRootURL)/", "$(DownloadRootURL)/../x", "$(DownloadRootURL)/a/%2e%2e/%2e%2e/x", "$(DownloadRootURL)/a/..%2fx",
		"http://evil.example.com/x.osd", "//evil.example.com/x.osd", "file:///etc/passwd", "$(Other)/x", `$(DownloadRootURL)/a\..\x`, "$(DownloadRootURL)/%zz",
	} {
		if got, err := wire.Path(href); err == nil {
			t.Errorf("%q leads to %q", href, got)
		}
	}
}

func TestWriterRefusesWhatXMLCannotCarry(t *testing.T) {
	for _, bad := range []string{"\x00", "\x1b", "\xff", "\ufffe"} {
		if b, err := wire.WriteSettings(policy.Settings{"s": {"a": bad}}); err == nil {
			t.Errorf("%q is written: %s", bad, b)
		}
	}
}
