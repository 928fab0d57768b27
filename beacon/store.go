package beacon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v4/disk"

	"inventorybeacon/beacon/config"
	"inventorybeacon/beacon/dial"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
	"inventorybeacon/uploads/directory"
	"inventorybeacon/uploads/objectstore"
	"inventorybeacon/uploads/parent"
	"inventorybeacon/uploads/quarantine"
	"inventorybeacon/uploads/relay"
	"inventorybeacon/uploads/spool"
)

// openUploads opens what takes uploads. The catalogue comes first because it is
// told what the spool does.
func (b *Beacon) openUploads(ctx context.Context) (err error) {
	kinds := b.config.UploadKinds()
	var sinks []spool.SinkName
	var indexed []catalogue.Sink
	for _, r := range b.config.Relay {
		folders := canonical(kinds, r.Kinds)
		sinks = append(sinks, spool.SinkName{Name: r.Name, Required: r.IsRequired(), Kinds: folders})
		indexed = append(indexed, catalogue.Sink{Name: r.Name, Required: r.IsRequired(), Kinds: folders})
	}
	b.catalogue, err = catalogue.Open(ctx, b.path(config.CatalogueFile), catalogue.Options{Sinks: indexed, Log: b.log})
	if err != nil {
		return fmt.Errorf("open catalogue: %w", err)
	}
	b.closers = append(b.closers, b.catalogue.Close)
	b.quarantine, err = quarantine.Open(b.path(config.QuarantineDir))
	if err != nil {
		return err
	}
	b.closers = append(b.closers, b.quarantine.Close)
	b.spool, err = spool.Open(b.path(config.SpoolDir), spool.Options{
		SegmentBytes: int64(b.config.Spool.Segment), Recycle: true, MemoryBudget: int64(b.config.Spool.Memory),
		Beacon: b.config.Name, Sinks: sinks, Observe: b.catalogue.Observe, Log: b.log,
	})
	if err != nil {
		return fmt.Errorf("open spool: %w", err)
	}
	b.closers = append(b.closers, b.spool.Close)
	room := &room{free: b.spool.Free, least: b.leastFree()}
	b.agents = &Agents{
		Name: b.config.Name, Download: b.config.Roots.Download, Upload: b.config.Roots.Upload,
		Policies: func() Snapshot { return b.policies.Current() },
		Spool:    b.spool, Kinds: kinds, Room: room.check, Pressed: b.memoryPressed, Seen: b.catalogue.Seen,
		InFlight: b.config.Limits.InFlight, Idle: b.config.Limits.Idle, Proxies: config.Addrs(b.config.TrustedProxies),
		Metrics: b.metrics, Log: b.log,
	}
	b.agents.Handler()
	return nil
}

// canonical spells kinds as their folders are.
func canonical(kinds *uploads.Kinds, names []string) []string {
	var out []string
	for _, n := range names {
		if k, ok := kinds.ByFolder(n); ok {
			n = k.Folder
		}
		out = append(out, n)
	}
	return out
}

func (b *Beacon) memoryPressed() bool {
	st := b.spool.Stats()
	return st.BudgetUsed*2 > st.Budget
}

// Without a configured watermark a twentieth of the disk stays free, at most
// 256 MiB: enough for policy and the catalogue to go on.
const (
	freeShare = 20
	mostFree  = 256 << 20
)

func (b *Beacon) leastFree() int64 {
	if n := int64(b.config.Spool.MinFree); n > 0 {
		return n
	}
	u, err := disk.Usage(b.config.Data)
	if err != nil {
		return mostFree
	}
	return min(mostFree, int64(u.Total/freeShare))
}

// A room decides whether the disk takes an upload.
type room struct {
	free  func() (int64, error)
	least int64

	mu    sync.Mutex
	left  int64
	err   error
	asked time.Time
}

// roomEvery is how old the answer about the disk may be. Asking more often
// costs a system call an upload; less often lets a burst overshoot further.
const roomEvery = 100 * time.Millisecond

func (r *room) check(bytes int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.asked) > roomEvery {
		r.left, r.err = r.free()
		r.asked = now
	}
	if r.err != nil {
		return fmt.Errorf("look at the disk: %w", r.err)
	}
	r.left -= max(bytes, 0) // until the disk is asked again
	if r.left < r.least {
		return fmt.Errorf("%w: %d bytes would be free, %d must stay", uploads.ErrFull, r.left, r.least)
	}
	return nil
}

// openGuard lists whom the beacon may connect to.
func (b *Beacon) openGuard(context.Context) (err error) {
	var upstreams []string
	for _, r := range b.config.Relay {
		if r.Beacon != nil {
			upstreams = append(upstreams, r.Beacon.URL)
		}
		if r.S3 != nil {
			upstreams = append(upstreams, storeHosts(r.S3)...)
		}
	}
	b.guard, err = dial.New(upstreams, config.Addrs(b.config.AgentNetworks))
	if err != nil {
		return err
	}
	b.guard.Refuse = func(address, reason string) {
		b.metrics.dialsRefused.Inc()
		b.log.Error("refused to connect: only configured upstreams outside agent_networks are", "address", address, "reason", reason)
	}
	return nil
}

// storeHosts are the hosts by which an object store is called: its own, the
// bucket's, and for Amazon's the ones its clients make of them.
func storeHosts(s *config.S3) []string {
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		return nil // the configuration was checked
	}
	hosts := []string{u.Host}
	if strings.HasSuffix(u.Hostname(), ".amazonaws.com") && s.Region != "" {
		hosts = append(hosts, "s3."+s.Region+".amazonaws.com", "s3.dualstack."+s.Region+".amazonaws.com")
	}
	var out []string
	for _, h := range hosts {
		out = append(out, u.Scheme+"://"+h, u.Scheme+"://"+s.Bucket+"."+h)
	}
	return out
}

// transport is one whose connections the guard lets out, and no proxy.
func (b *Beacon) transport(ca string) (*http.Transport, error) {
	t := parent.NewTransport()
	t.DialContext, t.Proxy = b.guard.DialContext, nil
	if ca == "" {
		return t, nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("read certificates to trust: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", ca)
	}
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return t, nil
}

func (b *Beacon) openRelays(context.Context) error {
	for _, r := range b.config.Relay {
		sink, err := b.sink(r)
		if err != nil {
			return fmt.Errorf("relay %s: %w", r.Name, err)
		}
		b.relays = append(b.relays, relay.New(relay.Options{
			Name: r.Name, Queue: b.spool, Sink: sink, Quarantine: b.quarantine, Log: b.log,
		}))
	}
	return nil
}

func (b *Beacon) sink(r config.Relay) (uploads.Sink, error) {
	switch {
	case r.Directory != nil:
		s, err := directory.Open(r.Directory.Path, directory.Options{
			MaxFiles: r.Directory.MaxFiles, MaxBytes: int64(r.Directory.MaxBytes), Identity: b.config.Name, Log: b.log,
		})
		if err != nil {
			return nil, err
		}
		b.closers = append(b.closers, s.Close)
		return s, nil
	case r.S3 != nil:
		t, err := b.transport(r.S3.CA)
		if err != nil {
			return nil, err
		}
		return objectstore.Open(objectstore.Options{
			Endpoint: r.S3.Endpoint, Bucket: r.S3.Bucket, Prefix: r.S3.Prefix, Region: r.S3.Region, Style: r.S3.Style,
			AccessKey: r.S3.AccessKey, SecretKey: r.S3.SecretKey.Reveal(), Transport: t, Identity: b.config.Name, Log: b.log,
		})
	}
	t, err := b.transport(r.Beacon.CA)
	if err != nil {
		return nil, err
	}
	return &parent.Sink{
		Client:    &parent.Client{HTTP: &http.Client{Transport: t}, Identity: b.config.Name},
		Locations: parent.Fixed{{Name: r.Name, Root: strings.TrimSuffix(r.Beacon.URL, "/")}},
	}, nil
}
