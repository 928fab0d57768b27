package desk

import (
	"context"
	"time"

	"inventorybeacon/beacon/admission"
	"inventorybeacon/policy"
	"inventorybeacon/uploads/catalogue"
	"inventorybeacon/uploads/relay"
)

// States of a beacon.
const (
	StateServing  = "serving"
	StateDraining = "draining"
	StateStopped  = "stopped"
)

// Status is how a beacon is, in one screen.
type Status struct {
	State    string           `json:"state"`
	Name     string           `json:"name,omitempty"`
	Started  time.Time        `json:"started,omitzero"`
	Agents   []string         `json:"agents,omitempty"` // URLs where agents connect
	Admin    string           `json:"admin,omitempty"`
	Revision policy.Revision  `json:"revision"`
	Counts   catalogue.Counts `json:"counts"`
	Spool    SpoolStatus      `json:"spool"`
	Sinks    []SinkStatus     `json:"sinks"`
	// Pressure is how much of its limits a running beacon uses.
	Pressure *admission.Pressure `json:"pressure,omitempty"`
	// Problems are what a person should look at, with what to do.
	Problems []string `json:"problems"`
}

// SpoolStatus is what waits for its relay.
type SpoolStatus struct {
	Files     int       `json:"files"`
	Bytes     int64     `json:"bytes"`
	Oldest    time.Time `json:"oldest,omitzero"`
	FreeBytes int64     `json:"free_bytes,omitempty"`
	// Unfinished have come in part, and UnfinishedBytes of them are here.
	Unfinished      int   `json:"unfinished,omitempty"`
	UnfinishedBytes int64 `json:"unfinished_bytes,omitempty"`
}

// SinkStatus is how a destination takes what is sent to it.
type SinkStatus struct {
	relay.Status
	Required bool `json:"required"`
	// Beacons are those that the destination names, the one to ask next first, if
	// there are several.
	Beacons []BeaconStatus `json:"beacons,omitempty"`
}

// BeaconStatus is how one of several beacons of a destination is doing.
type BeaconStatus struct {
	Name  string `json:"name"`
	URL   string `json:"url"`
	InUse bool   `json:"in_use"`
	// Failures count since it was last well; Until is when it is tried again.
	Failures int       `json:"failures,omitempty"`
	Until    time.Time `json:"until,omitzero"`
	Error    string    `json:"error,omitempty"`
}

// GetStatus asks how the beacon is.
var GetStatus = Call[struct{}, Status]{"status", (*Desk).getStatus}

func (d *Desk) getStatus(ctx context.Context, _ struct{}) (Status, error) {
	st, err := d.status(ctx)
	if err != nil {
		return st, err
	}
	store, err := d.policies()
	if err != nil {
		return st, err
	}
	st.Revision = store.Current().Revision()
	switch st.Counts, err = d.counts(ctx); {
	case err != nil && st.State == StateStopped:
		return st, err
	case err != nil: // on a full disk this is when a person looks
		st.Problems = append(st.Problems, "the catalogue, which is an index alone, cannot be read, so that counts are missing here: "+err.Error())
	}
	st.Problems = append(st.Problems, d.quarantineProblems()...)
	if st.State == StateStopped { // nobody else knows what waits
		waiting := catalogue.StateWaiting
		st.Spool = SpoolStatus{Files: int(st.Counts.Uploads[waiting]), Bytes: st.Counts.Bytes[waiting], Oldest: st.Counts.OldestWaiting}
	}
	return st, nil
}

func (d *Desk) counts(ctx context.Context) (catalogue.Counts, error) {
	cat, err := d.catalogue(ctx)
	if err != nil {
		return catalogue.Counts{}, err
	}
	return cat.Counts(ctx)
}

// stopped is how a beacon is that does not run.
func (d *Desk) stopped(context.Context) (Status, error) {
	return Status{State: StateStopped, Sinks: []SinkStatus{}, Problems: []string{}}, nil
}
