package admission

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// An Endpoint is one of the things that senders ask for.
type Endpoint uint8

// The endpoints.
const (
	Policy Endpoint = iota // downloads
	Upload                 // everything with a body
	Ask                    // whether a file is held, receipts, reachability
	endpoints
)

// String names the endpoint as the configuration does.
func (e Endpoint) String() string { return [...]string{"policy", "upload", "ask"}[e] }

// A Rate is how many requests a second each of these may make; 0 is no limit.
type Rate struct{ Beacon, Child, Peer, Agent float64 }

// Bursts, in seconds of the rate. A longer one lets an agent empty its outbox
// after an outage at once; a shorter one stops a sender that runs wild sooner.
const (
	beaconBurst = 1
	peerBurst   = 2
	agentBurst  = 10
)

const (
	// limiters bounds the senders that are remembered of each sort, some 200 bytes
	// each. Who is forgotten starts anew with a full burst.
	limiters = 1 << 14
	// debt is how far ahead requests are promised. A longer one serves more senders
	// behind one address in turn; a shorter one forgives sooner.
	debt = 30 * time.Second
)

// A Sender is who asks.
type Sender struct {
	Peer  netip.Addr
	Agent string // its id; empty if it gives none
	Child string // the beacon that relays; empty if it is an agent
	Name  string // tells senders of one address apart that give no id
}

// Rates bounds how often senders ask. It may be used from several goroutines.
type Rates struct {
	limits [endpoints]Rate
	// spares says which peers are many senders in truth, as proxies are.
	spares func(netip.Addr) bool

	all      [endpoints]*rate.Limiter
	mu       sync.Mutex
	peers    [endpoints]recent[netip.Addr, *rate.Limiter]
	children [endpoints]recent[netip.Addr, *rate.Limiter]
	agents   [endpoints]recent[string, *rate.Limiter]
	tickets  recent[uint64, ticket]
	seed     maphash.Seed
}

// A ticket is a request that was promised for later: its turn is taken already.
type ticket struct {
	due    time.Time
	reason Reason
}

// NewRates returns rates that begin with every burst unused. No limit of a peer
// applies to those that spares names.
func NewRates(limits map[Endpoint]Rate, spares func(netip.Addr) bool) *Rates {
	r := &Rates{spares: spares, seed: maphash.MakeSeed()}
	r.tickets.limit = limiters
	for e := range endpoints {
		r.limits[e] = limits[e]
		r.all[e] = bucket(limits[e].Beacon, beaconBurst)
		r.peers[e].limit, r.children[e].limit, r.agents[e].limit = limiters, limiters, limiters
	}
	return r
}

// bucket returns a limiter, nil if there is no limit.
func bucket(perSecond, burst float64) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond*burst)))
}

// Allow counts a request. A wait above zero, in whole seconds, means that it must
// come again then: its turn is kept, and asking again earlier changes nothing.
func (r *Rates) Allow(now time.Time, e Endpoint, s Sender) (wait time.Duration, why Reason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tickets.len() > 0 {
		id := r.identity(e, s)
		if t, ok := r.tickets.get(id); ok {
			if left := t.due.Sub(now); left > 0 {
				return seconds(left), t.reason
			}
			r.tickets.remove(id)
			return 0, ""
		}
	}
	for _, b := range r.buckets(e, s) {
		if b.limiter == nil {
			continue
		}
		turn := b.limiter.ReserveN(now, 1)
		wait := turn.DelayFrom(now)
		switch {
		case wait <= 0:
			continue
		case wait > debt:
			turn.CancelAt(now)
			return seconds(debt + time.Duration(r.identity(e, s)%uint64(debt))), b.reason
		}
		wait = seconds(wait)
		r.tickets.put(r.identity(e, s), ticket{now.Add(wait), b.reason})
		return wait, b.reason
	}
	return 0, ""
}

type counted struct {
	limiter *rate.Limiter
	reason  Reason
}

// buckets are the limits that a request counts against.
func (r *Rates) buckets(e Endpoint, s Sender) (out [3]counted) {
	l := r.limits[e]
	switch {
	case s.Child != "":
		out[0] = counted{limiter(&r.children[e], s.Peer, l.Child, peerBurst), RateChild}
	default:
		if s.Agent != "" {
			out[0] = counted{limiter(&r.agents[e], s.Agent, l.Agent, agentBurst), RateAgent}
		}
		if r.spares == nil || !r.spares(s.Peer) {
			out[1] = counted{limiter(&r.peers[e], s.Peer, l.Peer, peerBurst), RatePeer}
		}
	}
	out[2] = counted{r.all[e], RateBeacon}
	return out
}

// limiter finds or makes the one of k.
func limiter[K comparable](m *recent[K, *rate.Limiter], k K, perSecond, burst float64) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	b, ok := m.get(k)
	if !ok {
		b = bucket(perSecond, burst)
		m.put(k, b)
	}
	return b
}

// identity is who a ticket is for.
func (r *Rates) identity(e Endpoint, s Sender) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	h.WriteByte(byte(e))
	ip := s.Peer.As16()
	h.Write(ip[:])
	name := s.Agent
	if name == "" {
		name = s.Name
	}
	h.WriteString(name)
	return h.Sum64()
}

// seconds rounds a wait up to what a header can say.
func seconds(d time.Duration) time.Duration {
	return max(time.Second, (d + time.Second - 1).Truncate(time.Second))
}
