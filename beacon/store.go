package beacon

import (
	"context"
	"errors"
	"fmt"

	"inventorybeacon/beacon/config"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
	"inventorybeacon/uploads/quarantine"
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
	b.catalogue, err = catalogue.Open(ctx, b.path(config.CatalogueFile), catalogue.Options{
		Beacon: b.name, Sinks: indexed, Horizon: b.config.Retention.Listed(), KindHorizons: b.config.Retention.Kinds, MaxUploads: b.config.Retention.MaxUploads, Log: b.log,
	})
	if err != nil {
		return fmt.Errorf("open catalogue: %w", err)
	}
	b.closers = append(b.closers, b.catalogue.Close)
	b.quarantine, err = quarantine.Open(b.path(config.QuarantineDir), b.quarantineOptions())
	if err != nil {
		return err
	}
	b.closers = append(b.closers, b.quarantine.Close)
	limits := b.limits()
	b.spool, err = spool.Open(b.path(config.SpoolDir), spool.Options{
		SegmentBytes: int64(b.config.Spool.Segment), Recycle: true, MemoryBudget: int64(b.config.Spool.Memory),
		MaxFiles: limits.Files, Horizon: b.config.Retention.Receipts,
		Beacon: b.name, Sinks: sinks, Observe: b.observe, Log: b.log,
	})
	if err != nil {
		return fmt.Errorf("open spool: %w", err)
	}
	b.closers = append(b.closers, b.spool.Close)
	b.room = &room{free: b.spool.Free, marks: limits.Watermarks, most: limits.Files, files: b.spool.Files}
	if err := errors.Join(b.openKept(), b.openLedger(), b.openFleet()); err != nil {
		return err
	}
	b.agents = &Agents{
		Name: b.name, Download: b.config.Roots.Download, Upload: b.config.Roots.Upload,
		Policies: func() Snapshot { return b.policies.Current() },
		Spool:    b.spool, Kinds: kinds, Room: b.room.check, Last: b.room.last, Pressed: b.memoryPressed, Seen: b.catalogue.Seen,
		InFlight: b.config.Limits.InFlight, Idle: b.config.Limits.Idle, Proxies: config.Addrs(b.config.TrustedProxies),
		Signer: b.signer, Wanted: b.wanted, Metrics: b.metrics, Log: b.log,
	}
	b.agents.Limits = b.agentLimits(limits)
	b.agents.Rules = b.config.ContentRules()
	if err := b.openResumable(); err != nil {
		return err
	}
	b.agents.Handler()
	return b.openGate(kinds)
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
	used, limit := b.spool.Memory()
	return used*2 > limit
}
