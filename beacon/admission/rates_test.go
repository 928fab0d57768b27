package admission

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

func from(peer, agent, name string) Sender {
	return Sender{Peer: netip.MustParseAddr(peer), Agent: agent, Name: name}
}

// allowed counts how many of n requests at one instant pass.
func allowed(r *Rates, now time.Time, e Endpoint, n int, who func(i int) Sender) (passed int) {
	for i := range n {
		if wait, _ := r.Allow(now, e, who(i)); wait == 0 {
			passed++
		}
	}
	return passed
}

func TestRatesBoundEachSort(t *testing.T) {
	limits := map[Endpoint]Rate{Policy: {Beacon: 1000, Child: 50, Peer: 20, Agent: 2}, Upload: {Peer: 5}}
	many := func(i int) Sender { return from(fmt.Sprintf("10.0.%d.%d", i/256, i%256), fmt.Sprint(i), "") }
	for _, tt := range []struct {
		name string
		e    Endpoint
		who  func(i int) Sender
		want int
		why  Reason
	}{
		{"one agent", Policy, func(i int) Sender { return from(fmt.Sprintf("10.0.0.%d", i%200), "a", fmt.Sprint(i)) }, 20, RateAgent},
		{"one address", Policy, func(i int) Sender { return from("192.0.2.1", "", fmt.Sprint(i)) }, 40, RatePeer},
		{"one address, many agents", Policy, func(i int) Sender { return from("192.0.2.1", fmt.Sprint(i), "") }, 40, RatePeer},
		{"a beacon that relays", Policy, func(i int) Sender {
			return Sender{Peer: netip.MustParseAddr("192.0.2.1"), Child: "c", Name: fmt.Sprint(i)}
		}, 100, RateChild},
		{"all together", Policy, many, 1000, RateBeacon},
		{"another endpoint", Upload, func(i int) Sender { return from("192.0.2.1", "a", fmt.Sprint(i)) }, 10, RatePeer},
		{"no limit", Ask, func(i int) Sender { return from("192.0.2.1", "a", "") }, 5000, ""},
		{"a proxy", Policy, func(i int) Sender { return from("127.0.0.1", "", fmt.Sprint(i)) }, 1000, RateBeacon},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := NewRates(limits, netip.Addr.IsLoopback)
			if got := allowed(r, start, tt.e, 5000, tt.who); got != tt.want {
				t.Errorf("%d of 5000 passed, want %d", got, tt.want)
			}
			wait, why := r.Allow(start, tt.e, tt.who(6000))
			if why != tt.why || (wait > 0) != (tt.why != "") || wait%time.Second != 0 {
				t.Errorf("the next: %v, %q; want %q", wait, why, tt.why)
			}
		})
	}
}

// Whoever is told a time gets its turn then, and gains nothing by asking before.
func TestRatesKeepTheirWord(t *testing.T) {
	r := NewRates(map[Endpoint]Rate{Policy: {Peer: 10}}, nil)
	due := map[string]time.Duration{}
	perSecond := map[time.Duration]int{}
	for i := range 120 {
		name := fmt.Sprint(i)
		wait, _ := r.Allow(start, Policy, from("192.0.2.1", "", name))
		if wait == 0 {
			continue
		}
		due[name] = wait
		perSecond[wait]++
		if again, _ := r.Allow(start.Add(wait/2), Policy, from("192.0.2.1", "", name)); again != seconds(wait-wait/2) {
			t.Errorf("asked again: %v, was told %v", again, wait)
		}
	}
	if len(due) != 100 {
		t.Fatalf("%d wait", len(due))
	}
	for second, n := range perSecond {
		if n > 11 {
			t.Errorf("%d come back after %v", n, second)
		}
	}
	for name, wait := range due {
		if left, _ := r.Allow(start.Add(wait), Policy, from("192.0.2.1", "", name)); left != 0 {
			t.Errorf("%s came after %v and waits %v more", name, wait, left)
		}
	}
	if wait, _ := r.Allow(start.Add(10*time.Second), Policy, from("192.0.2.1", "", "new")); wait == 0 {
		t.Error("a newcomer overtook those that were promised their turn")
	}
	if wait, _ := r.Allow(start.Add(time.Minute), Policy, from("192.0.2.1", "", "newer")); wait != 0 {
		t.Errorf("a minute later one waits %v", wait)
	}
}

// A flood from one address is told to stay away for a while, spread, and is not
// remembered one by one.
func TestRatesBoundWhatTheyRemember(t *testing.T) {
	r := NewRates(map[Endpoint]Rate{Upload: {Peer: 100, Agent: 1}}, nil)
	for i := range 100_000 {
		wait, _ := r.Allow(start, Upload, from("192.0.2.1", fmt.Sprint(i), ""))
		if wait > 2*debt {
			t.Fatalf("one waits %v", wait)
		}
	}
	if n := r.agents[Upload].len(); n > limiters {
		t.Errorf("%d agents are remembered", n)
	}
	if n := r.tickets.len(); n > limiters {
		t.Errorf("%d tickets", n)
	}
}

func TestRecentForgetsTheOldest(t *testing.T) {
	m := recent[int, int]{limit: 10}
	for i := range 100 {
		m.put(i, i)
		if _, ok := m.get(0); !ok {
			t.Fatalf("what is asked for was forgotten at %d", i)
		}
		if m.len() > 10 {
			t.Fatalf("%d entries", m.len())
		}
	}
	if _, ok := m.get(50); ok {
		t.Error("what nobody asked for is still there")
	}
	if _, ok := m.get(99); !ok {
		t.Error("what came last is not there")
	}
}

func BenchmarkAllow(b *testing.B) {
	r := NewRates(Preset(Machine{Cores: 2, Memory: 8 << 30, Disk: 100 << 30}).Rates, nil)
	for i := 0; b.Loop(); i++ {
		r.Allow(start.Add(time.Duration(i)*time.Millisecond), Policy, from("192.0.2.1", "", "x"))
	}
}

// Without any configuration an agent that empties a large outbox is not held up,
// even on the smallest machine.
func TestPresetRatesLetAnOutboxEmpty(t *testing.T) {
	r := NewRates(Preset(Machine{Cores: 1, Memory: 1 << 30, Disk: 10 << 30}).Rates, nil)
	one := func(int) Sender { return from("192.0.2.1", "a", "") }
	for second := range 10 {
		if got := allowed(r, start.Add(time.Duration(second)*time.Second), Upload, 800, one); got != 800 {
			t.Fatalf("second %d: %d of 800 passed", second, got)
		}
	}
}
