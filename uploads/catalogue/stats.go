package catalogue

import "sync/atomic"

// Stats are counters since the catalogue was opened, for metrics.
type Stats struct {
	Position          uint64 `json:"position"`           // how far the journal is indexed
	Indexed           uint64 `json:"indexed"`            // events written
	Batches           uint64 `json:"batches"`            // transactions of events
	Dropped           uint64 `json:"dropped"`            // events that found the buffer full and were read again
	CaughtUp          uint64 `json:"caught_up"`          // times the journal was read
	Unreadable        uint64 `json:"unreadable"`         // events that the journal could not read
	Sightings         uint64 `json:"sightings"`          // taken
	SightingsDropped  uint64 `json:"sightings_dropped"`  // given up because the buffer was full or a write failed
	StrangersDropped  uint64 `json:"strangers_dropped"`  // names without an upload, over a cap
	IdentitiesDropped uint64 `json:"identities_dropped"` // a device's oldest agent ids, over a cap
	DevicesRefused    uint64 `json:"devices_refused"`    // uploads whose device was over a cap
	Pruned            uint64 `json:"pruned"`             // uploads beyond the horizon
	Recreated         uint64 `json:"recreated"`          // times a damaged file was replaced
	Failures          uint64 `json:"failures"`           // writes that failed and are tried again
	Queue             int    `json:"queue"`              // events buffered
	QueueSize         int    `json:"queue_size"`         // the most that can be
}

type counters struct {
	indexed, batches, dropped, caughtUp, unreadable, sightings, sightingsDropped, strangersDropped,
	identitiesDropped, devicesRefused, pruned, recreated, failures atomic.Uint64
}

// Stats returns the numbers of this instant.
func (c *Catalogue) Stats() Stats {
	n := &c.counters
	return Stats{
		Position: c.Position(), Indexed: n.indexed.Load(), Batches: n.batches.Load(),
		Dropped: n.dropped.Load(), CaughtUp: n.caughtUp.Load(), Unreadable: n.unreadable.Load(),
		Sightings: n.sightings.Load(), SightingsDropped: n.sightingsDropped.Load(),
		StrangersDropped: n.strangersDropped.Load(), IdentitiesDropped: n.identitiesDropped.Load(),
		DevicesRefused: n.devicesRefused.Load(), Pruned: n.pruned.Load(),
		Recreated: n.recreated.Load(), Failures: n.failures.Load(),
		Queue: c.backlog.len(), QueueSize: c.backlog.size,
	}
}
