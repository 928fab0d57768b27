// Package route decides which beacon the agent speaks to next: the failover
// list of the policy, ordered by its selector and by how the beacons did, with
// the addresses the agent was started with as the last resort.
package route

import (
	"context"
	"errors"
	"hash/fnv"
	"log/slog"

	"inventorybeacon/agentside/pull"
	"inventorybeacon/failover"
	"inventorybeacon/failover/route"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent"
)

// Options are what a route begins with.
type Options struct {
	Device    uploads.Device
	DNSDomain string // of this machine, for MgsDomainMatch
	Bootstrap []failover.Location
	Prober    route.Prober
	// Changed, if not nil, is called when another beacon has come into use.
	Changed func()
	Log     *slog.Logger
}

// A Route is safe for concurrent use.
type Route struct{ *route.Route }

// A Standing is one beacon as the agent sees it.
type Standing = route.Standing

// New returns a route over the bootstrap locations.
func New(o Options) *Route {
	seed := fnv.New64a()
	seed.Write([]byte(o.Device.Key().String()))
	return &Route{route.New(route.Options{
		Name: o.Device.Name, Domain: o.DNSDomain, Seed: seed.Sum64(), Bootstrap: o.Bootstrap,
		Prober: o.Prober, Changed: o.Changed, Log: o.Log,
	})}
}

// Replace installs a policy's list; nil leaves the bootstrap locations.
func (r *Route) Replace(f *pull.Failover) error {
	if f == nil {
		f = &pull.Failover{}
	}
	return r.Route.Replace(f.Selector, f.Locations)
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
	if busy, ok := errors.AsType[*uploads.RetryError](err); ok {
		r.Avoid(l, busy.After)
		return
	}
	if errors.Is(err, pull.ErrNoPolicy) || errors.Is(err, pull.ErrOlder) || errors.Is(err, pull.ErrPublisher) {
		err = nil // it answered; we did not like the answer
	}
	r.Route.Report(l, err)
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
