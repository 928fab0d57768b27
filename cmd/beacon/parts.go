package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"inventorybeacon/beacon"
	"inventorybeacon/beacon/config"
	"inventorybeacon/beacon/desk"
	"inventorybeacon/cmd/internal/cli"
)

// parts gives the operator's desk what it needs of a running beacon.
func parts(b *beacon.Beacon, c *config.Config) desk.Parts {
	return desk.Parts{
		Data:     c.Data,
		Policies: b.Policies(), Catalogue: b.Catalogue(), Spool: b.Spool(), Refused: b.Quarantine(), Kept: b.Kept(), Signer: b.Signer(),
		Requeue: b.Requeue, Deliver: b.Delivered, Room: b.Room, Identity: desk.Identity{Name: b.Name(), Kinds: c.UploadKinds()},
		Status: func(context.Context) (desk.Status, error) { return status(b, c, time.Now()), nil },
	}
}

func status(b *beacon.Beacon, c *config.Config, now time.Time) desk.Status {
	a, s, half := b.Addresses(), b.Spool().Stats(), b.Unfinished()
	st := desk.Status{
		State: string(b.State()), Name: b.Name(), Started: b.Started(),
		Agents: slices.Concat(a.Agents, a.AgentsTLS), Admin: a.Admin,
		Spool: desk.SpoolStatus{
			Files: s.Pending, Bytes: s.PendingBytes, Oldest: s.Oldest, Unfinished: half.Open, UnfinishedBytes: half.Bytes,
		},
		Problems: []string{},
	}
	if free, err := b.Spool().Free(); err == nil {
		st.Spool.FreeBytes = free
	}
	if err := b.Ready(); err != nil {
		st.Problems = append(st.Problems, "not ready: "+err.Error())
	}
	p := b.Pressure(now)
	st.Pressure = &p
	if err := b.Full(); err != nil {
		st.Problems = append(st.Problems, "uploads are refused until there is room: "+err.Error())
	}
	st.Problems = append(st.Problems, pressureProblems(p)...)
	for i, r := range b.Relays() {
		sink := desk.SinkStatus{Status: r, Required: c.Relay[i].IsRequired(), Beacons: standings(b, r.Sink)}
		sink.Waiting = s.Sinks[r.Sink].Pending // the relay plans but some of a long backlog
		st.Sinks = append(st.Sinks, sink)
		st.Problems = append(st.Problems, sinkProblems(sink, now)...)
	}
	for _, f := range b.Shelves() {
		if f.Failures > 0 {
			st.Problems = append(st.Problems, fmt.Sprintf("fleet status in %s could not be read %d times in a row: %s: `beacon doctor` tries what it needs", f.Name, f.Failures, f.Error))
		}
	}
	return st
}

func standings(b *beacon.Beacon, sink string) (out []desk.BeaconStatus) {
	for _, s := range b.Standings(sink) {
		st := desk.BeaconStatus{Name: s.Name, URL: s.Upload, InUse: s.InUse, Failures: s.Failures, Error: s.Error}
		if s.Failures > 0 {
			st.Until = s.Rest
		}
		out = append(out, st)
	}
	return out
}

func sinkProblems(s desk.SinkStatus, now time.Time) (out []string) {
	if s.SetAside > 0 {
		why := ""
		if len(s.Trouble) > 0 {
			why = s.Trouble[0].Reason
		}
		out = append(out, fmt.Sprintf("%s set %s aside (%s): correct the cause, then run `beacon uploads requeue --all --sink %s`", s.Sink, cli.Count(s.SetAside, "file"), why, s.Sink))
	}
	well := slices.ContainsFunc(s.Beacons, func(b desk.BeaconStatus) bool { return b.Failures == 0 })
	for _, b := range s.Beacons {
		if b.Failures > 0 && well { // else the relay fails, and says so
			out = append(out, fmt.Sprintf("%s: the beacon %s failed, the others are used: %s", s.Sink, b.Name, b.Error))
		}
	}
	switch {
	case s.Stopped:
		out = append(out, fmt.Sprintf("the relay to %s stopped: %s: correct the configuration, then run `beacon uploads requeue --all --sink %s`", s.Sink, s.LastError, s.Sink))
	case s.FailuresInARow > 0 && s.ClosedUntil.IsZero():
		out = append(out, fmt.Sprintf("%s has failed %d times in a row, next try in %v: %s", s.Sink, s.FailuresInARow, s.NextAttempt.Sub(now).Round(time.Second), s.LastError))
	}
	return out
}
