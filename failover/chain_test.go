package failover_test

import (
	"slices"
	"strings"
	"testing"

	"inventorybeacon/failover"
)

func TestParseChainReads(t *testing.T) {
	for in, want := range map[string]string{
		"":                                     "",
		" ; ":                                  "",
		"MgsPing;MgsSubnetMatch(3,true)":       "MgsPing;MgsSubnetMatch(3,true)",
		"mgsping ; MGSSUBNETMATCH( 3 , TRUE )": "MgsPing;MgsSubnetMatch(3,true)",
		"MgsNameMatch(20,,true)":               "MgsNameMatch(20,,true)",
		"MgsNameMatch(5,,true);MgsRandom":      "MgsNameMatch(5,,true);MgsRandom",
		"MgsRandom(3);":                        "MgsRandom(3)",
		"MgsRandom()":                          "MgsRandom",
		"MgsSubnetMatch(0,false)":              "MgsSubnetMatch",
		"MgsBandwidth(2);MgsIPMatch(1)":        "MgsBandwidth(2);MgsIPMatch(1)",
		"MgsDomainMatch(4)":                    "MgsDomainMatch(4)",
	} {
		c, warnings, err := failover.ParseChain(in)
		if err != nil || len(warnings) > 0 || c.String() != want {
			t.Errorf("%q read as %q, %q, %v; want %q", in, c, warnings, err, want)
		}
	}
}

func TestParseChainSkipsWhatWindowsHas(t *testing.T) {
	c, warnings, err := failover.ParseChain("MgsADSiteMatch(3,true);MgsPing;MgsDHCP;MgsServersFromAD")
	if err != nil || c.String() != "MgsPing" || len(warnings) != 3 {
		t.Fatalf("%q, %q, %v", c, warnings, err)
	}
	for i, name := range []string{"MgsADSiteMatch", "MgsDHCP", "MgsServersFromAD"} {
		if !strings.HasPrefix(warnings[i], name) {
			t.Errorf("warning %q does not name %s", warnings[i], name)
		}
	}
}

func TestParseChainSaysWhereItIsWrong(t *testing.T) {
	for in, want := range map[string][]string{
		"MgsPong":                  {`column 1: "MgsPong" is no selector`},
		"MgsPing; MgsPong(1);nope": {`column 10: "MgsPong"`, `column 21: "nope"`},
		"MgsPing(1":                {"column 1: ", "parentheses"},
		"MgsPing(1))":              {"parentheses"},
		"MgsPing)":                 {"no selector"},
		"MgsPing(1,true)":          {"2 arguments, it takes 1"},
		"MgsPing(-1)":              {"argument 1", `"-1"`},
		"MgsPing(99999999999)":     {"argument 1"},
		"MgsSubnetMatch(1,yes)":    {"argument 2", `"yes"`},
		"MgsNameMatch":             {"how many characters"},
		"MgsNameMatch(,1)":         {"how many characters"},
		"(3)":                      {`"" is no selector`},
	} {
		c, _, err := failover.ParseChain(in)
		if err == nil {
			t.Errorf("%q read as %q", in, c)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: %v; want %s", in, err, w)
			}
		}
	}
}

func TestChainSaysWhatItNeeds(t *testing.T) {
	for in, want := range map[string]failover.Needs{
		"": {}, "MgsRandom;MgsNameMatch(3);MgsDomainMatch": {}, "MgsPing": {RTT: true},
		"MgsSubnetMatch;MgsBandwidth": {Bandwidth: true, Addresses: true}, "MgsIPMatch": {Addresses: true},
	} {
		if got := chain(t, in).Needs(); got != want {
			t.Errorf("%q needs %+v, want %+v", in, got, want)
		}
	}
}

func FuzzParseChain(f *testing.F) {
	for _, s := range []string{"", "MgsPing;MgsSubnetMatch(3,true)", "MgsNameMatch(20,,true)", "a(b(c)", ";;(", "MgsDHCP(", "MgsRandom(3) ; x"} {
		f.Add(s)
	}
	list := []failover.Location{loc("a", 1, true), loc("b", 2, true), loc("c", 3, false)}
	f.Fuzz(func(t *testing.T, s string) {
		c, _, err := failover.ParseChain(s)
		if err != nil {
			if c.String() != "" {
				t.Errorf("%q: half of it was taken: %s", s, c)
			}
			return
		}
		again, warnings, err := failover.ParseChain(c.String())
		if err != nil || len(warnings) > 0 || again.String() != c.String() {
			t.Errorf("%q is written as %q, which reads as %q, %v", s, c, again, err)
		}
		got := c.Order(list, failover.Facts{Name: "a"})
		if !slices.ContainsFunc(got, func(l failover.Location) bool { return l.Name == "c" }) {
			t.Errorf("%q lost a fixed location", s)
		}
	})
}
