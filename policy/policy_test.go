package policy_test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"inventorybeacon/policy"
	"inventorybeacon/schedule"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func key(a policy.AppliesTo, q policy.Query) policy.Rank {
	return policy.NewSet([]policy.Bundle{{Name: "b", AppliesTo: a}}).AppendKey(nil, q).Rank(0)
}

func TestTargetMatches(t *testing.T) {
	pc := policy.Query{Domain: "EXAMPLE", Device: "Site-PC07", OS: "linux", Arch: "amd64", Address: netip.MustParseAddr("10.1.2.3")}
	tests := map[string]struct {
		a    policy.AppliesTo
		want policy.Rank
	}{
		"nothing said":                {policy.AppliesTo{}, policy.Everyone},
		"star":                        {policy.AppliesTo{Devices: []string{"*"}}, policy.Everyone},
		"name in another case":        {policy.AppliesTo{Devices: []string{"SITE-pc07"}}, policy.ExactDevice},
		"other name":                  {policy.AppliesTo{Devices: []string{"site-pc08"}}, policy.NoMatch},
		"pattern in another case":     {policy.AppliesTo{Devices: []string{"SITE-*"}}, policy.DevicePattern},
		"name beats pattern and star": {policy.AppliesTo{Devices: []string{"*", "site-*", "site-pc07"}}, policy.ExactDevice},
		"domain in another case":      {policy.AppliesTo{Domains: []string{"example"}}, policy.Domain},
		"any domain":                  {policy.AppliesTo{Domains: []string{"*"}}, policy.Everyone},
		"other domain":                {policy.AppliesTo{Domains: []string{"other"}}, policy.NoMatch},
		"all conditions must hold":    {policy.AppliesTo{Devices: []string{"site-pc07"}, Domains: []string{"other"}}, policy.NoMatch},
		"most specific counts":        {policy.AppliesTo{Devices: []string{"site-*"}, Domains: []string{"EXAMPLE"}, Platforms: []string{"linux"}}, policy.DevicePattern},
		"address above pattern":       {policy.AppliesTo{Devices: []string{"site-*"}, Addresses: []string{"10.0.0.0/8"}}, policy.Address},
		"other network":               {policy.AppliesTo{Addresses: []string{"192.168.0.0/16"}}, policy.NoMatch},
		"platform":                    {policy.AppliesTo{Platforms: []string{"windows", "Linux"}}, policy.Platform},
		"platform with processor":     {policy.AppliesTo{Platforms: []string{"linux/amd64"}}, policy.Platform},
		"other processor":             {policy.AppliesTo{Platforms: []string{"linux/arm64"}}, policy.NoMatch},
		"a group matches nobody yet":  {policy.AppliesTo{Groups: []string{"pilot"}}, policy.NoMatch},
		"a tag matches nobody yet":    {policy.AppliesTo{Devices: []string{"*"}, Tags: []string{"lab"}}, policy.NoMatch},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := key(tt.a, pc); got != tt.want {
				t.Errorf("rank = %v, want %v", got, tt.want)
			}
		})
	}
	t.Run("unknown platform", func(t *testing.T) {
		if got := key(policy.AppliesTo{Platforms: []string{"linux"}}, policy.Query{Device: "a"}); got != policy.NoMatch {
			t.Errorf("rank = %v, want none: the request did not say", got)
		}
	})
	t.Run("mapped address", func(t *testing.T) {
		q := policy.Query{Device: "a", Address: netip.MustParseAddr("::ffff:10.1.2.3")}
		if got := key(policy.AppliesTo{Addresses: []string{"10.0.0.0/8"}}, q); got != policy.Address {
			t.Errorf("rank = %v, want address", got)
		}
	})
}

func TestKeySaysWhetherAnAddressDecided(t *testing.T) {
	s := policy.NewSet([]policy.Bundle{{Name: "b", AppliesTo: policy.AppliesTo{Domains: []string{"D"}, Addresses: []string{"10.0.0.0/8"}}}})
	for addr, inside := range map[string]bool{"10.1.1.1": true, "11.1.1.1": false} {
		k := s.AppendKey(nil, policy.Query{Domain: "D", Device: "a", Address: netip.MustParseAddr(addr)})
		if !k.ByAddress() || k.None() == inside {
			t.Errorf("%s: by address %v, none %v", addr, k.ByAddress(), k.None())
		}
	}
	if k := s.AppendKey(nil, policy.Query{Domain: "other", Device: "a"}); k.ByAddress() {
		t.Error("the address decided although the domain differs")
	}
}

func event(name, run string) schedule.Event { return schedule.Daily(name, run, 0, time.Hour) }

func TestMergeGoesByRankThenPriorityThenName(t *testing.T) {
	set := func(v string) policy.Settings { return policy.Settings{"Tracker": {"Who": v, "Only" + v: "yes"}} }
	bundles := []policy.Bundle{
		{Name: "everyone-first", Priority: 1, Settings: set("E"), Schedule: policy.Schedule{event("Poll", "policy"), event("Extra", "upload")}},
		{Name: "device", Priority: 90, AppliesTo: policy.AppliesTo{Devices: []string{"pc1"}}, Settings: set("D")},
		{Name: "z-domain", Priority: 50, AppliesTo: policy.AppliesTo{Domains: []string{"X"}}, Settings: set("Z")},
		{Name: "a-domain", Priority: 50, AppliesTo: policy.AppliesTo{Domains: []string{"X"}}, Settings: set("A"), Schedule: policy.Schedule{event("POLL", "inventory")},
			Failover: &policy.Failover{Selector: "MgsRandom"}},
		{Name: "low-domain", Priority: 10, AppliesTo: policy.AppliesTo{Domains: []string{"X"}}, Failover: &policy.Failover{Beacons: []policy.Beacon{{Name: "b"}}}},
	}
	s := policy.NewSet(bundles)
	e := s.Effective(s.AppendKey(nil, policy.Query{Domain: "x", Device: "PC1"}))
	var order []string
	for _, m := range e.Bundles {
		order = append(order, m.Bundle)
	}
	if want := []string{"device", "low-domain", "a-domain", "z-domain", "everyone-first"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	wantSettings := policy.Settings{"Tracker": {"Who": "D", "OnlyD": "yes", "OnlyA": "yes", "OnlyZ": "yes", "OnlyE": "yes"}}
	if d := cmp.Diff(wantSettings, e.Settings); d != "" {
		t.Error(d)
	}
	if len(e.Schedule) != 2 || e.Schedule[0].Run != "inventory" || e.Schedule[1].Name != "Extra" {
		t.Errorf("schedule %v", e.Schedule)
	}
	if e.Failover.Selector != "MgsRandom" || len(e.Failover.Beacons) != 1 {
		t.Errorf("failover %+v: selector and beacons are keys of their own", e.Failover)
	}
}

// Keys must name every key that any device gets.
func TestKeysAreAllThereAre(t *testing.T) {
	list := func(words ...string) *rapid.Generator[[]string] {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(words), 0, 2, rapid.ID[string])
	}
	rapid.Check(t, func(t *rapid.T) {
		var bundles []policy.Bundle
		for i := range rapid.IntRange(0, 5).Draw(t, "bundles") {
			bundles = append(bundles, policy.Bundle{Name: string(rune('a' + i)), AppliesTo: policy.AppliesTo{
				Devices:   list("*", "pc1", "pc2", "pc*", "srv").Draw(t, "devices"),
				Domains:   list("*", "X", "Y").Draw(t, "domains"),
				Platforms: list("linux", "linux/amd64", "windows").Draw(t, "platforms"),
				Addresses: list("10.0.0.0/8", "fd00::/8").Draw(t, "addresses"),
			}})
		}
		s := policy.NewSet(bundles)
		all := map[string]bool{}
		if !s.Keys(100000, func(k policy.Key) { all[string(k)] = true }) {
			t.Fatal("too many keys")
		}
		q := policy.Query{
			Device:  rapid.SampledFrom([]string{"PC1", "pc2", "pc3", "srv", "x"}).Draw(t, "device"),
			Domain:  rapid.SampledFrom([]string{"x", "Y", "Z"}).Draw(t, "domain"),
			OS:      rapid.SampledFrom([]string{"", "linux", "windows"}).Draw(t, "os"),
			Arch:    rapid.SampledFrom([]string{"amd64", "arm64"}).Draw(t, "arch"),
			Address: netip.MustParseAddr(rapid.SampledFrom([]string{"10.1.1.1", "fd00::1", "1.1.1.1"}).Draw(t, "address")),
		}
		k := s.AppendKey(nil, q)
		for i := range k {
			k[i] = byte(k.Rank(i))
		}
		if !all[string(k)] {
			t.Fatalf("key %v of %+v is not among the %d", k, q, len(all))
		}
	})
}

func TestKeysAreFewWhereBundlesDivideTheFleet(t *testing.T) {
	var bundles []policy.Bundle
	for d := range strings.FieldsSeq("a b c d e f g h i j k l m n o p q r s t") {
		bundles = append(bundles, policy.Bundle{Name: d, AppliesTo: policy.AppliesTo{Domains: []string{d}}})
	}
	n := 0
	if !policy.NewSet(bundles).Keys(4096, func(policy.Key) { n++ }) || n != 21 {
		t.Errorf("%d keys, want one a domain and one for no domain", n)
	}
}

func TestKeyCostsNoAllocation(t *testing.T) {
	s := policy.NewSet([]policy.Bundle{
		{AppliesTo: policy.AppliesTo{Devices: []string{"pc1", "site-*"}, Domains: []string{"EXAMPLE"}}},
		{AppliesTo: policy.AppliesTo{Addresses: []string{"10.0.0.0/8"}}},
	})
	q := policy.Query{Domain: "EXAMPLE", Device: "Site-Workstation-0042", Address: netip.MustParseAddr("10.1.1.1")}
	var buf [16]byte
	if n := testing.AllocsPerRun(100, func() { s.AppendKey(buf[:0], q) }); n != 0 {
		t.Errorf("%v allocations a key, want none", n)
	}
}

func TestScheduleSurvivesJSON(t *testing.T) {
	want := policy.Schedule{{
		ID: schedule.EventID("E"), Name: "E", Run: "command:rescan", Catchup: schedule.Once,
		Triggers: []schedule.Trigger{
			{Type: schedule.TypeDaily, At: schedule.Clock(5 * time.Minute), Repeat: 12 * time.Hour, For: 24 * time.Hour, Window: 90 * time.Minute},
			{Type: schedule.TypeWeekly, Every: 2, Weekdays: []time.Weekday{time.Monday, time.Friday}},
			{Type: schedule.TypeMonthly, Days: []int{1, 15}},
			{Type: schedule.TypeOnce, Start: schedule.Date{Year: 2026, Month: 5, Day: 1}},
			{Type: schedule.TypeConnect}, {Type: schedule.TypeStartup, Window: 30 * time.Second},
		},
	}}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got policy.Schedule
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestSpanIsWrittenAsByHand(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "", 12 * time.Hour: "12h", 90 * time.Minute: "1h30m", 90 * time.Second: "1m30s", 30 * time.Minute: "30m", 24*time.Hour + time.Second: "24h0m1s", 10 * time.Second: "10s",
	} {
		if got := policy.Span(d); got != want {
			t.Errorf("Span(%d) = %q, want %q", d, got, want)
		}
	}
}

func TestNameIsHarmlessAsAFile(t *testing.T) {
	for _, good := range []string{"head-office", "Head Office 2", "a", "v1.2_x"} {
		if !policy.ValidName(good) {
			t.Errorf("%q is refused", good)
		}
	}
	for _, bad := range []string{"", ".", "..", "a/b", `a\b`, ".hidden", "a..b", "a.", "a ", "-x", "ä", "a\n", "a:b", strings.Repeat("a", 101)} {
		if policy.ValidName(bad) {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestRevisionsAreOrdered(t *testing.T) {
	r := func(e, n uint64) policy.Revision { return policy.Revision{Epoch: e, Number: n} }
	if !r(1, 2).After(r(1, 1)) || r(1, 1).After(r(1, 1)) || !r(2, 1).After(r(1, 9)) || r(1, 9).After(r(2, 1)) {
		t.Error("order is not epoch, then number")
	}
}
