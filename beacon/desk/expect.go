package desk

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"inventorybeacon/beacon/config"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
	"inventorybeacon/uploads/fleet"
)

// An Expectation is a list of devices that should report.
type Expectation struct {
	Devices []uploads.Device `json:"devices"`
	// Add keeps those that are expected already.
	Add bool `json:"add"`
}

// An Expected is how many devices are expected after a call, and were before.
type Expected struct {
	Devices int `json:"devices"`
	Before  int `json:"before"`
}

// A LateFilter asks for devices without an inventory of the last While.
type LateFilter struct {
	While time.Duration `json:"while_ns"`
	// Never asks only for those of which nothing is known.
	Never bool `json:"never"`
}

// The calls about devices that should report.
var (
	ExpectAgents = Call[Expectation, Expected]{"agents.expect", (*Desk).expectAgents}
	LateAgents   = Call[LateFilter, []catalogue.Late]{"agents.late", (*Desk).lateAgents}
)

func (d *Desk) expectedFile() string { return filepath.Join(d.data, config.ExpectedFile) }

func (d *Desk) expectAgents(_ context.Context, in Expectation) (out Expected, err error) {
	d.expecting.Lock()
	defer d.expecting.Unlock()
	before, err := fleet.LoadExpected(d.expectedFile())
	if err != nil && in.Add {
		return out, err
	}
	list := in.Devices
	if in.Add {
		list = fleet.JoinExpected(before, list)
	}
	if err := fleet.SaveExpected(d.expectedFile(), list); err != nil {
		return out, err
	}
	return Expected{Devices: len(list), Before: len(before)}, nil
}

func (d *Desk) lateAgents(ctx context.Context, in LateFilter) ([]catalogue.Late, error) {
	expected, err := fleet.LoadExpected(d.expectedFile())
	if err != nil {
		return nil, err
	}
	if in.Never && len(expected) == 0 {
		return nil, errors.New("nobody is expected: name the devices that should report with `beacon agents expect FILE.csv`")
	}
	cat, err := d.catalogue(ctx)
	if err != nil {
		return nil, err
	}
	late, err := cat.Late(ctx, expected, in.While, time.Now())
	if err != nil {
		return nil, fmt.Errorf("compare with the expected devices: %w", err)
	}
	if !in.Never {
		return late, nil
	}
	never := []catalogue.Late{}
	for _, l := range late {
		if l.Cause == catalogue.CauseNever {
			never = append(never, l)
		}
	}
	return never, nil
}
