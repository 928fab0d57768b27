package failover

import (
	"net/netip"
	"time"
)

// Facts are what selector algorithms go by. What is missing an algorithm cannot
// tell apart and leaves in the order it finds. The maps are keyed by
// [Location.ID].
type Facts struct {
	// RTT is how long a server took to answer; absent if it did not.
	RTT map[string]time.Duration
	// Bandwidth is in bytes a second.
	Bandwidth map[string]float64
	// Addresses are what the servers' names resolve to.
	Addresses map[string][]netip.Addr
	// Own are this machine's addresses with their prefix lengths.
	Own []netip.Prefix
	// Domain is this machine's DNS domain, Name its computer name.
	Domain, Name string
	// Seed drives MgsRandom: the same seed gives the same order, and a server
	// added or removed does not disturb the others. One made of the machine's
	// name keeps it with one server; one made of the time spreads its requests.
	Seed uint64
	// Current is the ID of the server in use. Another is measured as faster
	// only if it is so by a margin, so that two alike do not take turns.
	Current string
}
