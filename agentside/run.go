package agentside

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"inventorybeacon/agentside/datadir"
	"inventorybeacon/agentside/network"
	"inventorybeacon/schedule"
	"inventorybeacon/uploads/backoff"
)

const scheduleFile = datadir.State + "/schedule.json"

// Run does what the schedule says, and sends what lies in the outbox, until ctx
// is done. It returns nil then, after what was under way has stopped.
func (a *Agent) Run(ctx context.Context) error {
	loop, err := a.newLoop()
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.loop = loop
	a.mu.Unlock()
	a.reschedule()
	loop.Fire(schedule.TypeStartup)

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return loop.Run(ctx) })
	g.Go(func() error { return a.outbox.Run(ctx, a.touch) })
	g.Go(func() error { return a.relay.Run(ctx) })
	g.Go(func() error { return a.route.Run(ctx) })
	g.Go(func() error { return network.Watch(ctx, a.reconnected) })
	g.Go(func() error { return a.expire(ctx) })
	g.Go(func() error { return a.ledger.Run(ctx) })
	g.Go(func() error { return a.keepStatus(ctx) })
	a.log.Info("agent running", slog.String("device", a.o.device().String()), slog.String("version", a.o.Version), slog.String("agent_id", a.id))
	err = g.Wait()
	if _, saveErr := a.saveStatus(); saveErr != nil {
		a.log.Warn("status not written", slog.Any("err", saveErr))
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// newLoop makes the schedule's loop with what is remembered of earlier runs. A
// damaged memory is none: then nothing was missed.
func (a *Agent) newLoop() (*schedule.Loop, error) {
	var state schedule.State
	if err := a.dir.ReadJSON(scheduleFile, &state); err != nil {
		a.log.Warn("what ran when is forgotten", slog.Any("err", err))
		state = schedule.State{}
	}
	plan, err := schedule.NewPlan(a.o.device().Key().String(), nil, state)
	if err != nil {
		return nil, err
	}
	loop := schedule.NewLoop(plan, a.do)
	loop.Log = a.log
	loop.Save = func(s schedule.State) error { return a.dir.WriteJSON(scheduleFile, s) }
	return loop, nil
}

// reschedule gives the loop, if it runs, the schedule in force.
func (a *Agent) reschedule() {
	a.mu.Lock()
	loop, held := a.loop, a.held
	events := make([]schedule.Event, len(a.events))
	for i, e := range a.events {
		events[i] = e.Event
	}
	a.mu.Unlock()
	if loop == nil {
		return
	}
	stamp := "built-in"
	if held != nil {
		stamp = held.Stamp
	}
	if err := loop.Apply(events, stamp); err != nil {
		a.log.Error("schedule not applied", slog.Any("err", err)) // its events were checked before
	}
	a.touch()
}

// reconnected is called when the network changed or the machine woke up.
func (a *Agent) reconnected(why string) {
	a.log.Info("network is back or changed", slog.String("why", why))
	a.http.CloseIdleConnections()
	a.relay.Wake()
	a.Wake()
	a.loop.Fire(schedule.TypeConnect)
}

// expireEvery is how often files are looked at that may be too old to keep.
const expireEvery = time.Hour

func (a *Agent) expire(ctx context.Context) error {
	for {
		now := time.Now()
		if err := errors.Join(a.keeper.Expire(now.Add(-spoolAge)), a.spool.Expire(now)); err != nil {
			a.log.Warn("old files not given up", slog.Any("err", err))
		}
		if !backoff.Sleep(ctx, expireEvery) {
			return ctx.Err()
		}
	}
}
