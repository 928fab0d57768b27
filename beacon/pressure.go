package beacon

import (
	"time"

	"inventorybeacon/beacon/admission"
	"inventorybeacon/beacon/comeback"
)

// Pressure says how much of what the beacon takes on is in use.
func (b *Beacon) Pressure(now time.Time) admission.Pressure {
	p := b.agents.pressure(now)
	for _, f := range b.fronts {
		n := f.crowd.count()
		p.Connections += n.taken
		p.IdleConnections += n.idle
		p.ConnectionsLimit += f.crowd.limit
	}
	p.Files, p.FilesLimit, p.Disk = b.spool.Files(), b.room.most, b.room.below()
	return p
}

func (a *Agents) pressure(now time.Time) admission.Pressure {
	g := &a.gate
	small, large := g.returns.Standing(now), g.largeReturns.Standing(now)
	p := admission.Pressure{
		UploadsLimit: g.places.Limit, LargeLimit: g.large.Limit, BytesLimit: g.places.Bytes,
		Slow: int(g.crawling.taken.Load()), Waiting: map[string]int{},
		Rate: small.Rate, Drained: max(small.Drained, large.Drained),
	}
	p.Uploads, p.Bytes = g.places.Taken()
	p.Large, _ = g.large.Taken()
	for _, c := range comeback.Classes() {
		p.Waiting[c.String()] = small.Waiting[c] + large.Waiting[c]
	}
	return p
}

// pressure is what admission and connections add to the metrics.
func (s sheet) pressure(p admission.Pressure, fronts []*front) {
	s.gauge("beacon_uploads_in_flight", "Uploads being taken.", float64(p.Uploads+p.Slow))
	s.gauge("beacon_uploads_in_flight_limit", "Most uploads that are taken at once, but for slow ones.", float64(p.UploadsLimit))
	s.gauge("beacon_uploads_slow", "Uploads without a place, because their first bytes take long to come.", float64(p.Slow))
	s.gauge("beacon_uploads_large", "Uploads above 64 KiB being taken.", float64(p.Large))
	s.gauge("beacon_uploads_large_limit", "Most uploads above 64 KiB that are taken at once.", float64(p.LargeLimit))
	s.gauge("beacon_uploads_in_flight_bytes", "Bytes of the bodies being taken, as announced or come.", float64(p.Bytes))
	s.gauge("beacon_uploads_in_flight_limit_bytes", "Most bytes of bodies that are taken at once; 0 is no limit.", float64(p.BytesLimit))
	s.gauge("beacon_spool_limit_files", "Most files that may wait; 0 is no limit.", float64(p.FilesLimit))
	for _, m := range []admission.Reason{admission.DiskLow, admission.DiskFull, admission.DiskLast} {
		s.gauge("beacon_disk_watermark", "1 for the watermark that free disk is below.", truth(p.Disk == m), "reason", string(m))
	}
	for class, n := range p.Waiting {
		s.gauge("beacon_comeback_senders", "Senders that were turned away and told when to come back.", float64(n), "class", class)
	}
	s.gauge("beacon_comeback_rate", "Uploads a second that they are let come back at.", p.Rate)
	s.gauge("beacon_comeback_drain_seconds", "Time until the last of them is due.", p.Drained.Seconds())
	s.gauge("beacon_connections", "Connections of agents.", float64(p.Connections))
	s.gauge("beacon_connections_idle", "Connections that are only kept alive.", float64(p.IdleConnections))
	s.gauge("beacon_connections_limit", "Most connections of agents.", float64(p.ConnectionsLimit))
	var n crowdCount
	for _, f := range fronts {
		n = n.plus(f.crowd.count())
	}
	const name, help = "beacon_connections_closed_total", "Connections closed for want of a place: new ones by the limit of all or of their address, and idle ones."
	s.counter(name, help, float64(n.turnedAway), "reason", "limit")
	s.counter(name, help, float64(n.peerTurnedAway), "reason", "peer")
	s.counter(name, help, float64(n.givenUp), "reason", "idle")
}
