package beacon

import (
	"context"
	"errors"
	"hash/fnv"
	"net/http"
	"net/url"
	"os"
	"strings"

	"inventorybeacon/beacon/config"
	"inventorybeacon/failover"
	"inventorybeacon/failover/probe"
	"inventorybeacon/failover/route"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent"
)

// A parentRoute chooses among the beacons that one destination names.
type parentRoute struct {
	*route.Route
	list []failover.Location
}

var _ parent.Locator = parentRoute{}

// Order implements [parent.Locator].
func (p parentRoute) Order(ctx context.Context) []parent.Location {
	var out []parent.Location
	for _, l := range p.Route.Order(ctx) {
		out = append(out, parent.Location{Name: l.Name, Root: l.Upload})
	}
	return out
}

// Report implements [parent.Locator].
func (p parentRoute) Report(at parent.Location, err error) {
	for _, l := range p.list {
		if l.Upload != at.Root {
			continue
		}
		if busy, ok := errors.AsType[*uploads.RetryError](err); ok {
			p.Avoid(l, busy.After)
			return
		}
		p.Route.Report(l, err)
	}
}

// openRoute returns the route over a destination's beacons, whose probes go out by
// the same guard as its files.
func (b *Beacon) openRoute(name string, p *config.Parent, t *http.Transport) (parentRoute, error) {
	host, _ := os.Hostname() // without one, no name matches
	first, domain, _ := strings.Cut(host, ".")
	seed := fnv.New64a()
	seed.Write([]byte(b.name))
	r := parentRoute{list: p.Locations(name)}
	r.Route = route.New(route.Options{
		Name: first, Domain: domain, Seed: seed.Sum64(), Log: b.log.With("sink", name),
		Prober: &probe.Prober{
			Dial: b.guard.DialContext, TLS: t.TLSClientConfig,
			Environment: func(*http.Request) (*url.URL, error) { return nil, nil },
		},
	})
	if err := r.Replace(p.Selector, r.list); err != nil {
		return r, err
	}
	t.Proxy = func(req *http.Request) (*url.URL, error) {
		if proxy := r.Proxy(req.URL); proxy != "" && proxy != failover.Direct {
			return url.Parse(proxy)
		}
		return nil, nil
	}
	if b.routes == nil {
		b.routes = map[string]parentRoute{}
	}
	b.routes[name] = r
	return r, nil
}

// parentSink opens the destination of a beacon, or of an incumbent's server.
func (b *Beacon) parentSink(name string, p *config.Parent) (uploads.Sink, error) {
	t, err := b.transport(p.CA)
	if err != nil {
		return nil, err
	}
	s := &parent.Sink{Client: &parent.Client{
		HTTP: &http.Client{Transport: t}, Identity: b.name, Resume: &parent.Resuming{Log: b.log.With("sink", name)},
	}}
	if p.URL != "" {
		l := p.Locations(name)[0]
		s.Locations = parent.Fixed{{Name: l.Name, Root: l.Upload}}
	} else if s.Locations, err = b.openRoute(name, p, t); err != nil {
		return nil, err
	}
	if p.Dialect != config.DialectClassic {
		return s, nil
	}
	proven, err := b.provenBeacons()
	if err != nil {
		return nil, err
	}
	s.Classic = &parent.Classic{User: p.User, Password: p.Password.Reveal(), Proven: proven, Log: b.log.With("sink", name)}
	return classicSink{s}, nil
}

// A classicSink cannot be asked who holds a file by now.
type classicSink struct{ uploads.Sink }

// provenBeacons opens, once, what is known of servers that were taken for an
// incumbent's.
func (b *Beacon) provenBeacons() (_ *parent.Proven, err error) {
	if b.proven == nil {
		b.proven, err = parent.OpenProven(b.path(config.ProvenFile))
	}
	return b.proven, err
}

// Standings says how the beacons of a destination are doing, the one to ask next
// first; none of a destination with a single one.
func (b *Beacon) Standings(sink string) []route.Standing {
	if r, ok := b.routes[sink]; ok {
		return r.Standings()
	}
	return nil
}
