// Package route decides which server to speak to next: a list, ordered by a
// selector, by measurements that it makes when they are needed, and by how the
// servers did. It goes back to a preferred one when that is healthy again.
package route

import (
	"context"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"inventorybeacon/failover"
	"inventorybeacon/uploads/backoff"
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
	// Name and Domain are this machine's, for selectors that compare them.
	Name, Domain string
	// Seed decides where chance does, the same for the same machine.
	Seed uint64
	// Bootstrap locations stay the last resort whatever the list says.
	Bootstrap []failover.Location
	Prober    Prober
	// Changed, if not nil, is called when another location has come into use.
	Changed func()
	// Log defaults to discarding.
	Log *slog.Logger
}

// A Route is safe for concurrent use.
type Route struct {
	o     Options
	state *failover.State

	mu       sync.Mutex
	chain    failover.Chain
	list     []failover.Location // as it was given
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

// Replace installs a list with its selector; none leaves the bootstrap locations.
func (r *Route) Replace(selector string, list []failover.Location) error {
	chain, _, err := failover.ParseChain(selector)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.chain, r.list, r.measured = chain, list, time.Time{}
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
	f.Name, f.Domain, f.Seed, f.Current = r.o.Name, r.o.Domain, r.o.Seed, r.inUse
	return f
}

// Avoid records that l asked to be left alone for d.
func (r *Route) Avoid(l failover.Location, d time.Duration) { r.state.Avoid(l, time.Now(), d) }

// Report records how an attempt on l went; nil if it answered, if only to refuse.
func (r *Route) Report(l failover.Location, err error) {
	r.state.Report(l, time.Now(), err)
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

// Run probes preferred beacons that failed, so that what
// follows goes back to them when they are healthy, until ctx is done.
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

// A Standing is one location as the route sees it.
type Standing struct {
	failover.Location
	failover.Health
	InUse bool
}

// Standings returns the locations in the order in which they would be asked.
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
