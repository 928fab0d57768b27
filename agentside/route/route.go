// Package route decides which beacon the agent speaks to next: the failover
// list of the policy, ordered by its selector and by how the beacons did, with
// the addresses the agent was started with as the last resort.
package route

import (
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"inventorybeacon/agentside/pull"
	"inventorybeacon/failover"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/backoff"
	"inventorybeacon/uploads/parent"
)

const (
	// measureTimeout bounds what measuring may add to an operation. A longer one
	// measures slow servers too; a shorter one starts sooner.
	measureTimeout = 5 * time.Second
	// measureAfter is how old measurements may be. A shorter one notices sooner
	// that the network changed; a longer one spares the servers, since a burst
	// of uploads is as many operations.
	measureAfter = time.Minute
)

// Prober measures and checks locations; [inventorybeacon/failover/probe.Prober] does.
type Prober interface {
	Check(ctx context.Context, l failover.Location) (time.Duration, error)
	Measure(ctx context.Context, need failover.Needs, ls []failover.Location) failover.Facts
}

// Options are what a route begins with.
type Options struct {
	Device    uploads.Device
	DNSDomain string // of this machine, for MgsDomainMatch
	Bootstrap []failover.Location
	Prober    Prober
	// Changed, if not nil, is called when another beacon has come into use.
	Changed func()
	Log     *slog.Logger
}

// A Route is safe for concurrent use.
type Route struct {
	o     Options
	state *failover.State

	mu       sync.Mutex
	chain    failover.Chain
	list     []failover.Location // as the policy has it
	facts    failover.Facts
	measured time.Time
	inUse    string        // ID of the location that answered last
	failing  chan struct{} // a token when a location failed
}

// New returns a route over the bootstrap locations.
func New(o Options) *Route {
	if o.Changed == nil {
		o.Changed = func() {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Route{o: o, state: failover.NewState(o.Bootstrap...), failing: make(chan struct{}, 1)}
}

// Replace installs a policy's list; nil leaves the bootstrap locations.
func (r *Route) Replace(f *pull.Failover) error {
	if f == nil {
		f = &pull.Failover{}
	}
	chain, _, err := failover.ParseChain(f.Selector)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.chain, r.list, r.measured = chain, f.Locations, time.Time{}
	r.state.Replace(chain.Order(r.list, r.factsLocked()))
	return nil
}

// Order returns every location once, the one to ask first in front. If the
// selector goes by measurements that have grown old, they are made first.
func (r *Route) Order(ctx context.Context) []failover.Location {
	r.mu.Lock()
	chain, list, old := r.chain, r.list, time.Since(r.measured) > measureAfter
	r.mu.Unlock()
	if need := chain.Needs(); old && need != (failover.Needs{}) && len(list) > 1 {
		bounded, cancel := context.WithTimeout(ctx, measureTimeout)
		facts := r.o.Prober.Measure(bounded, need, list)
		cancel()
		r.mu.Lock()
		r.facts, r.measured = facts, time.Now()
		r.mu.Unlock()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Replace(r.chain.Order(r.list, r.factsLocked()))
	return r.state.Order(time.Now())
}

// factsLocked completes the measurements with what is known without measuring.
func (r *Route) factsLocked() failover.Facts {
	f := r.facts
	f.Name, f.Domain, f.Current = r.o.Device.Name, r.o.DNSDomain, r.inUse
	h := fnv.New64a()
	h.Write([]byte(r.o.Device.Key().String()))
	f.Seed = h.Sum64()
	return f
}

// Downloads returns the locations that policies can be fetched from.
func (r *Route) Downloads(ctx context.Context) []failover.Location {
	var out []failover.Location
	for _, l := range r.Order(ctx) {
		if l.Download != "" {
			out = append(out, l)
		}
	}
	return out
}

// Report records how an attempt on l went.
func (r *Route) Report(l failover.Location, err error) {
	now := time.Now()
	if busy, ok := errors.AsType[*uploads.RetryError](err); ok {
		r.state.Avoid(l, now, busy.After)
		return
	}
	if errors.Is(err, pull.ErrNoPolicy) || errors.Is(err, pull.ErrOlder) || errors.Is(err, pull.ErrPublisher) {
		err = nil // it answered; we did not like the answer
	}
	r.state.Report(l, now, err)
	if err != nil {
		select {
		case r.failing <- struct{}{}:
		default:
		}
		return
	}
	r.mu.Lock()
	changed := r.inUse != l.ID()
	r.inUse = l.ID()
	r.mu.Unlock()
	if changed {
		r.o.Log.Info("beacon in use", slog.String("beacon", l.Name))
		r.o.Changed()
	}
}

// Run probes preferred beacons that failed, so that the agent goes back to
// them when they are healthy, until ctx is done.
func (r *Route) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		next := r.state.NextProbe(time.Now())
		if next.IsZero() {
			select {
			case <-ctx.Done():
			case <-r.failing:
			}
			continue
		}
		if !backoff.Sleep(ctx, max(time.Second, time.Until(next))) {
			break
		}
		for _, l := range r.state.Probe(time.Now()) {
			_, err := r.o.Prober.Check(ctx, l)
			if ctx.Err() == nil {
				r.state.Report(l, time.Now(), err)
			}
		}
	}
	return ctx.Err()
}

// Proxy returns the proxy that the list names for an address of one of its
// locations, or nothing.
func (r *Route) Proxy(u *url.URL) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.list {
		if l.Proxy != "" && (below(u, l.Download) || below(u, l.Upload)) {
			return l.Proxy
		}
	}
	return ""
}

func below(u *url.URL, root string) bool {
	r, err := url.Parse(root)
	return err == nil && root != "" && strings.EqualFold(u.Host, r.Host) && u.Scheme == r.Scheme &&
		strings.HasPrefix(u.Path+"/", strings.TrimRight(r.Path, "/")+"/")
}

// A Standing is one beacon as the agent sees it.
type Standing struct {
	failover.Location
	failover.Health
	InUse bool
}

// Standings returns the beacons in the order in which they would be asked.
func (r *Route) Standings() []Standing {
	r.mu.Lock()
	inUse := r.inUse
	r.mu.Unlock()
	now := time.Now()
	var out []Standing
	for _, l := range r.state.Order(now) {
		out = append(out, Standing{l, r.state.Health(l, now), l.ID() == inUse})
	}
	return out
}

// Uploads is the route as the upload client sees it.
type Uploads struct{ *Route }

var _ parent.Locator = Uploads{}

// Order implements [parent.Locator].
func (u Uploads) Order(ctx context.Context) []parent.Location {
	var out []parent.Location
	for _, l := range u.Route.Order(ctx) {
		if l.Upload != "" {
			out = append(out, parent.Location{Name: l.Name, Root: l.Upload})
		}
	}
	return out
}

// Report implements [parent.Locator].
func (u Uploads) Report(at parent.Location, err error) {
	for _, s := range u.Standings() {
		if s.Upload == at.Root {
			u.Route.Report(s.Location, err)
			return
		}
	}
}
