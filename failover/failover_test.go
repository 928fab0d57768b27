package failover_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"inventorybeacon/failover"
)

// loc returns a location with the given name, reached at http://<name>/…
func loc(name string, priority int, auto bool) failover.Location {
	return failover.Location{
		Name: name, Download: "http://" + name + "/ManageSoftDL", Upload: "http://" + name + "/ManageSoftRL",
		Priority: priority, Auto: auto,
	}
}

func chain(t testing.TB, s string) failover.Chain {
	t.Helper()
	c, _, err := failover.ParseChain(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func names(ls []failover.Location) string {
	var out []string
	for _, l := range ls {
		out = append(out, l.Name)
	}
	return strings.Join(out, " ")
}

func addresses(byName map[string]string) map[string][]netip.Addr {
	out := map[string][]netip.Addr{}
	for name, a := range byName {
		out[loc(name, 0, true).ID()] = []netip.Addr{netip.MustParseAddr(a)}
	}
	return out
}

func autos(names ...string) []failover.Location {
	var out []failover.Location
	for _, n := range names {
		out = append(out, loc(n, 0, true))
	}
	return out
}

func TestPrioritiesAreNormalised(t *testing.T) {
	list := []failover.Location{loc("a", 34, false), loc("b", 96, false), loc("c", 12, false), loc("d", 242, false)}
	got := map[string]int{}
	for _, l := range (failover.Chain{}).Order(list, failover.Facts{}) {
		got[l.Name] = l.Priority
	}
	if want := map[string]int{"a": 2, "b": 3, "c": 1, "d": 4}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("34, 96, 12, 242 became %v, want %v", got, want)
	}
}

// The vendor's published examples.
func TestVendorExamples(t *testing.T) {
	fixed := loc("e", 5, false)
	for _, c := range []struct {
		name, chain string
		list        []failover.Location
		facts       failover.Facts
		want        string
	}{
		{
			"MgsSubnetMatch: A 1->3, B 2->4, C 4->2, D 3->1", "MgsSubnetMatch",
			[]failover.Location{loc("a", 1, true), loc("b", 2, true), loc("c", 4, true), loc("d", 3, true)},
			failover.Facts{
				Own: []netip.Prefix{netip.MustParsePrefix("172.16.34.53/21")},
				Addresses: addresses(map[string]string{
					"a": "172.16.45.40", "b": "169.15.13.12", "c": "172.16.34.40", "d": "172.16.34.60"}),
			}, "d c a b",
		},
		{
			"MgsIPMatch, one of fixed priority", "MgsIPMatch", append(autos("a", "b", "c", "d"), fixed),
			failover.Facts{
				Own: []netip.Prefix{netip.MustParsePrefix("123.3.45.44/24")},
				Addresses: addresses(map[string]string{
					"a": "123.3.45.56", "b": "123.3.44.46", "c": "123.5.45.56", "d": "123.3.45.32", "e": "123.3.45.42"}),
			}, "d a b c e",
		},
		{
			"MgsDomainMatch, one of fixed priority", "MgsDomainMatch",
			append(autos("x.abb.com.de", "x.abc.com.de", "x.abb.com.au", "x.abc.com.au"), fixed),
			failover.Facts{Domain: "abc.com.au"}, "x.abc.com.au x.abb.com.au x.abc.com.de x.abb.com.de e",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := names(chain(t, c.chain).Order(c.list, c.facts)); got != c.want {
				t.Errorf("order %s, want %s", got, c.want)
			}
		})
	}
}

func TestChainOrders(t *testing.T) {
	id := func(n string) string { return loc(n, 0, true).ID() }
	abcd := autos("a", "b", "c", "d")
	rtt := map[string]time.Duration{id("b"): 30 * time.Millisecond, id("c"): 10 * time.Millisecond, id("d"): 20 * time.Millisecond}
	near := []netip.Prefix{netip.MustParsePrefix("10.1.0.9/16"), netip.MustParsePrefix("fd00::9/64")}
	where := addresses(map[string]string{"a": "192.0.2.1", "b": "10.1.2.3", "c": "fd00::1", "d": "::ffff:10.1.7.7"})
	named := autos("bost.example.com", "bost01.example.com", "bosten", "nyc1")
	for _, c := range []struct {
		name, chain string
		list        []failover.Location
		facts       failover.Facts
		want        string
	}{
		{"no algorithm", "", abcd, failover.Facts{}, "a b c d"},
		{"ping, one does not answer", "MgsPing", abcd, failover.Facts{RTT: rtt}, "c d b a"},
		{"ping, the fastest only", "MgsPing(1)", abcd, failover.Facts{RTT: rtt}, "c a b d"},
		{"ping, the current one by a margin", "MgsPing", abcd,
			failover.Facts{Current: id("b"), RTT: map[string]time.Duration{id("a"): 24 * time.Millisecond, id("b"): 25 * time.Millisecond}}, "b a c d"},
		{"ping, a small margin for the near", "MgsPing", abcd,
			failover.Facts{Current: id("b"), RTT: map[string]time.Duration{id("a"): time.Millisecond, id("b"): 4 * time.Millisecond}}, "b a c d"},
		{"ping, much faster than the current one", "MgsPing", abcd,
			failover.Facts{Current: id("b"), RTT: map[string]time.Duration{id("a"): 15 * time.Millisecond, id("b"): 25 * time.Millisecond}}, "a b c d"},
		{"bandwidth", "MgsBandwidth", abcd, failover.Facts{Bandwidth: map[string]float64{id("b"): 1e6, id("d"): 9e6}}, "d b a c"},
		{"bandwidth, the current one by a margin", "MgsBandwidth", abcd,
			failover.Facts{Current: id("b"), Bandwidth: map[string]float64{id("b"): 8.5e6, id("d"): 9e6}}, "b d a c"},
		{"subnets of both families", "MgsSubnetMatch", abcd, failover.Facts{Own: near, Addresses: where}, "b c d a"},
		{"subnet, at most two", "MgsSubnetMatch(2)", autos("a", "d", "c", "b"), failover.Facts{Own: near, Addresses: where}, "d c a b"},
		{"subnet, discarding", "MgsSubnetMatch(,true)", abcd, failover.Facts{Own: near, Addresses: where}, "b c d"},
		{"subnet, a limit discards no match", "MgsSubnetMatch(1,true)", abcd, failover.Facts{Own: near, Addresses: where}, "b c d"},
		{"a fixed one is not discarded", "MgsSubnetMatch(,true)", append(slices.Clone(abcd), loc("z", 9, false)),
			failover.Facts{}, "z"},
		{"the fastest of the subnet first", "MgsPing;MgsSubnetMatch", abcd, failover.Facts{RTT: rtt, Own: near, Addresses: where}, "c d b a"},
		{"IP match, IPv4 only", "MgsIPMatch", abcd, failover.Facts{Own: near, Addresses: where}, "b d a c"},
		{"domain, nothing known of our own", "MgsDomainMatch", autos("x.b.org", "x.a.org"), failover.Facts{}, "x.b.org x.a.org"},
		{"domain, the same before one below", "MgsDomainMatch", autos("10.0.0.1", "x.eu.a.org", "x.a.org", "x.A.org."),
			failover.Facts{Domain: "a.ORG"}, "x.a.org x.A.org. x.eu.a.org 10.0.0.1"},
		{"domain, the closest only", "MgsDomainMatch(1)", autos("x.b.org", "x.c.org", "x.a.org"), failover.Facts{Domain: "a.org"}, "x.a.org x.b.org x.c.org"},
		{"name, four characters", "MgsNameMatch(4)", autos("nyc1", "bosten", "bost01.example.com"), failover.Facts{Name: "BOST0014"}, "bosten bost01.example.com nyc1"},
		{"name, five characters, discarding", "MgsNameMatch(5,,true)", named, failover.Facts{Name: "Bost0014"}, "bost01.example.com"},
		{"name, more than there are: the same name", "MgsNameMatch(20,,true)", named, failover.Facts{Name: "BOST01"}, "bost01.example.com"},
		{"name, limited", "MgsNameMatch(4,1)", autos("nyc1", "bosten", "bost01"), failover.Facts{Name: "bost0014"}, "bosten nyc1 bost01"},
		{"fixed and computed: ties go by the list", "", []failover.Location{loc("f", 1, false), loc("a", 0, true), loc("b", 0, true), loc("g", 2, false)},
			failover.Facts{}, "f a b g"},
		{"skipped algorithms change nothing", "MgsDHCP;MgsADSiteMatch(1,true)", abcd, failover.Facts{}, "a b c d"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := names(chain(t, c.chain).Order(c.list, c.facts)); got != c.want {
				t.Errorf("order %s, want %s", got, c.want)
			}
		})
	}
}

func TestInvalidIsNeverUsed(t *testing.T) {
	for _, auto := range []bool{true, false} {
		list := []failover.Location{loc("a", 1, auto), loc("b", 2, auto)}
		list[0].Invalid = true
		if got := names(chain(t, "MgsRandom").Order(list, failover.Facts{})); got != "b" {
			t.Errorf("auto %v: order %q, want b", auto, got)
		}
	}
}

// Every order of three is as likely as any other, and stays for one seed.
func TestRandomIsFairAndStable(t *testing.T) {
	const n = 6000
	c, list := chain(t, "MgsRandom"), autos("a", "b", "c")
	count := map[string]int{}
	for seed := range uint64(n) {
		got := names(c.Order(list, failover.Facts{Seed: seed}))
		if again := names(c.Order(list, failover.Facts{Seed: seed})); again != got {
			t.Fatalf("seed %d: %s, then %s", seed, got, again)
		}
		count[got]++
	}
	chi := 0.0
	for _, x := range count {
		chi += (float64(x) - n/6) * (float64(x) - n/6) / (n / 6)
	}
	if len(count) != 6 || chi > 20.5 { // 5 degrees of freedom, p = 0.999
		t.Errorf("%v, chi-square %.1f", count, chi)
	}
	without := names(c.Order(list[:2], failover.Facts{Seed: 7}))
	if got := strings.ReplaceAll(names(c.Order(list, failover.Facts{Seed: 7})), " c", ""); !strings.HasSuffix(got, without) {
		t.Errorf("a server more turned %s into %s", without, got)
	}
}

func drawList(t *rapid.T) []failover.Location {
	hosts := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "ws1.example.com", "ws2.example.org", "10.1.2.3", "10.9.9.9"}),
		0, 6, rapid.ID).Draw(t, "hosts")
	var out []failover.Location
	for _, h := range hosts {
		l := loc(h, rapid.IntRange(-3, 100).Draw(t, "priority"), rapid.Bool().Draw(t, "auto"))
		l.Invalid = rapid.IntRange(0, 5).Draw(t, "invalid") == 0
		out = append(out, l)
	}
	return out
}

func drawFacts(t *rapid.T, ls []failover.Location) failover.Facts {
	f := failover.Facts{
		RTT: map[string]time.Duration{}, Bandwidth: map[string]float64{}, Addresses: map[string][]netip.Addr{},
		Own:    []netip.Prefix{netip.MustParsePrefix("10.1.0.9/16")},
		Domain: rapid.SampledFrom([]string{"", "example.com"}).Draw(t, "domain"), Name: "ws1", Seed: rapid.Uint64().Draw(t, "seed"),
	}
	for _, l := range ls {
		if rapid.Bool().Draw(t, "measured") {
			f.RTT[l.ID()] = time.Duration(rapid.IntRange(0, 1e9).Draw(t, "rtt"))
			f.Bandwidth[l.ID()] = rapid.Float64Range(0, 1e9).Draw(t, "bandwidth")
		}
		if a, err := netip.ParseAddr(l.Host()); err == nil {
			f.Addresses[l.ID()] = []netip.Addr{a}
		}
	}
	return f
}

// An order is a permutation of what is not invalid, with priorities 1..n; only
// an algorithm that is told to discard loses a location, and never a fixed one.
func TestOrderIsAPermutation(t *testing.T) {
	steps := rapid.SliceOfN(rapid.SampledFrom([]string{"MgsPing", "MgsPing(1)", "MgsBandwidth(2)", "MgsRandom(1)", "MgsIPMatch(3)",
		"MgsSubnetMatch", "MgsSubnetMatch(1,true)", "MgsDomainMatch", "MgsNameMatch(2,,true)", "MgsNameMatch(2,1)", "MgsDHCP"}), 0, 5)
	rapid.Check(t, func(rt *rapid.T) {
		list := drawList(rt)
		selector := strings.Join(steps.Draw(rt, "steps"), ";")
		got := map[string]bool{}
		for i, l := range chain(t, selector).Order(list, drawFacts(rt, list)) {
			if l.Priority != i+1 || l.Invalid || got[l.ID()] {
				rt.Fatalf("%d: %+v", i, l)
			}
			got[l.ID()] = true
		}
		for _, l := range list {
			mayGo := l.Invalid || l.Auto && strings.Contains(selector, "true")
			if !got[l.ID()] && !mayGo {
				rt.Fatalf("%s lost %s", selector, l.Name)
			}
			delete(got, l.ID())
		}
		if len(got) > 0 {
			rt.Fatalf("made up %v", got)
		}
	})
}

func TestLocationHost(t *testing.T) {
	for id, want := range map[string]string{
		"https://B1.Example.com.:8443/ManageSoftDL": "b1.example.com", "http://[fd00::1]:80/x": "fd00::1", "://": "", "": "",
	} {
		if got := (failover.Location{Upload: id}).Host(); got != want {
			t.Errorf("host of %q is %q, want %q", id, got, want)
		}
	}
}
