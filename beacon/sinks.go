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

	"inventorybeacon/beacon/config"
	"inventorybeacon/beacon/dial"
	"inventorybeacon/failover"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/directory"
	"inventorybeacon/uploads/objectstore"
	"inventorybeacon/uploads/parent"
	"inventorybeacon/uploads/relay"
)

// openGuard lists whom the beacon may connect to.
func (b *Beacon) openGuard(context.Context) (err error) {
	var upstreams []string
	for _, r := range b.config.Relay {
		if r.Beacon != nil {
			upstreams = append(upstreams, parentHosts(r.Beacon)...)
		}
		if r.S3 != nil {
			upstreams = append(upstreams, storeHosts(r.S3)...)
		}
	}
	for _, r := range b.config.Fleet.Read {
		upstreams = append(upstreams, storeHosts(r.S3)...)
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

// parentHosts are the beacons of a destination and the proxies on the way there.
func parentHosts(p *config.Parent) (out []string) {
	for _, l := range p.Locations("") {
		out = append(out, l.Upload)
		if l.Proxy != failover.Direct {
			out = append(out, l.Proxy)
		}
	}
	return out
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
	if s.InstanceRole {
		out = append(out, objectstore.RoleHosts(s.Region)...)
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
		b.follow(r.Name, sink)
		o := pace(r)
		o.Name, o.Queue, o.Sink, o.Quarantine, o.Log = r.Name, keeper{b.gate, b.kept, b.words}, sink, b.quarantine, b.log
		if o.Hours, err = r.OpenHours(); err != nil {
			return fmt.Errorf("relay %s: %w", r.Name, err)
		}
		b.relays = append(b.relays, relay.New(o))
	}
	return nil
}

// pace is how many files go to a destination at a time. A directory gets groups, so
// that some are written while others are synced: more of them than a disk has use
// for only wait. A store is
// far away and takes many at once; a beacon does too, but has other children. Some
// workers are always left for other devices, and some for other kinds.
func pace(r config.Relay) relay.Options {
	o := relay.Options{Bandwidth: int64(r.Bandwidth)}
	switch {
	case r.Directory != nil:
		o.Workers, o.PerLine = 4, 3*directory.DefaultGroup
	case r.S3 != nil:
		o.Workers, o.PerLine, o.PerKind = 24, 16, 20
	default:
		o.Workers, o.PerLine, o.PerKind = 16, 8, 12
	}
	return o
}

func (b *Beacon) sink(r config.Relay) (uploads.Sink, error) {
	switch {
	case r.Directory != nil:
		s, err := directory.Open(r.Directory.Path, directory.Options{
			MaxFiles: r.Directory.MaxFiles, MaxBytes: int64(r.Directory.MaxBytes), Identity: b.name, Log: b.log,
		})
		if err != nil {
			return nil, err
		}
		b.closers = append(b.closers, s.Close)
		return s, nil
	case r.S3 != nil:
		o, err := b.bucket(r.S3)
		if err != nil {
			return nil, err
		}
		return objectstore.Open(o)
	}
	return b.parentSink(r.Name, r.Beacon)
}

// bucket is how a configured bucket is reached.
func (b *Beacon) bucket(s *config.S3) (objectstore.Options, error) {
	t, err := b.transport(s.CA)
	return objectstore.Options{
		Endpoint: s.Endpoint, Bucket: s.Bucket, Prefix: s.Prefix, Region: s.Region, Style: s.Style,
		AccessKey: s.AccessKey, SecretKey: s.SecretKey.Reveal(), CredentialsFile: s.CredentialsFile, Profile: s.Profile,
		InstanceRole: s.InstanceRole, Encryption: s.Encryption, KMSKey: s.KMSKey, CreateOnly: s.CreateOnly,
		Transport: t, Identity: b.name, Log: b.log,
	}, err
}
