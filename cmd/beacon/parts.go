package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"inventorybeacon/beacon"
	"inventorybeacon/beacon/config"
	"inventorybeacon/beacon/desk"
)

// parts gives the operator's desk what it needs of a running beacon.
func parts(b *beacon.Beacon, c *config.Config) desk.Parts {
	return desk.Parts{
		Policies: b.Policies(), Catalogue: b.Catalogue(), Spool: b.Spool(), Refused: b.Quarantine(), Signer: b.Signer(),
		Status: func(context.Context) (desk.Status, error) { return status(b, c, time.Now()), nil },
	}
}

func status(b *beacon.Beacon, c *config.Config, now time.Time) desk.Status {
	a, s := b.Addresses(), b.Spool().Stats()
	st := desk.Status{
		State: string(b.State()), Name: b.Name(), Started: b.Started(),
		Agents: slices.Concat(a.Agents, a.AgentsTLS), Admin: a.Admin,
		Spool:    desk.SpoolStatus{Files: s.Pending, Bytes: s.PendingBytes, Oldest: s.Oldest},
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
		sink := desk.SinkStatus{Status: r, Required: c.Relay[i].IsRequired()}
		st.Sinks = append(st.Sinks, sink)
		st.Problems = append(st.Problems, sinkProblems(sink, now)...)
	}
	return st
}

func sinkProblems(s desk.SinkStatus, now time.Time) []string {
	switch {
	case s.Stopped:
		return []string{fmt.Sprintf("the relay to %s stopped: %s", s.Sink, s.LastError)}
	case s.FailuresInARow > 0:
		return []string{fmt.Sprintf("%s has failed %d times in a row, next try in %v: %s", s.Sink, s.FailuresInARow, s.NextAttempt.Sub(now).Round(time.Second), s.LastError)}
	}
	return nil
}
