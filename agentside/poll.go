package agentside

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"inventorybeacon/agentside/pull"
	"inventorybeacon/failover"
)

// pollStatus is how the last polls went.
type pollStatus struct {
	lastTry  time.Time
	lastGood time.Time
	failures int
	err      string
	nextTry  time.Time
}

// try asks for the policy once: the whole list, one beacon after another. It
// reports whether a new policy is in force.
func (a *Agent) try(ctx context.Context) (bool, error) {
	a.polling.Lock()
	defer a.polling.Unlock()
	held := a.policy()
	list := a.route.Downloads(ctx)
	fetch := func(ctx context.Context, at failover.Location, answered func()) (*pull.Policy, error) {
		return a.client.Fetch(ctx, at, held, answered)
	}
	p, at, err := pull.Walk(ctx, list, fetch, a.route.Report)
	if err == nil && p != held {
		err = a.adopt(p, at)
	}
	if err != nil {
		a.http.CloseIdleConnections() // the next try resolves names and proxies anew
	}
	if ctx.Err() == nil {
		a.noteTry(err)
	}
	return err == nil && p != held, err
}

// adopt keeps a policy, durably, and puts it in force.
func (a *Agent) adopt(p *pull.Policy, at failover.Location) error {
	if err := a.store.Keep(p); err != nil {
		return err
	}
	a.install(p)
	a.log.Info("policy in force", slog.String("revision", p.Revision.String()), slog.String("publisher", p.Revision.Publisher),
		slog.String("digest", p.Digest.String()), slog.String("beacon", at.Name))
	for _, w := range warnings(p) {
		a.log.Warn("policy asks for what this agent does not do", slog.String("what", w))
	}
	a.changed()
	return nil
}

// install makes p, which may be nil, what the agent goes by.
func (a *Agent) install(p *pull.Policy) {
	var list *pull.Failover
	if p != nil {
		list = p.Failover
	}
	if err := a.route.Replace(list); err != nil {
		a.log.Error("failover list not applied", slog.Any("err", err)) // its selector was parsed before
	}
	a.mu.Lock()
	a.held = p
	a.events = eventsOf(p)
	a.mu.Unlock()
	a.applied(p)
	a.reschedule()
}

// policy returns the policy in force, nil if there is none yet.
func (a *Agent) policy() *pull.Policy {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.held
}

func (a *Agent) noteTry(err error) {
	now := time.Now().UTC()
	a.mu.Lock()
	a.poll.lastTry, a.poll.nextTry = now, time.Time{}
	if err == nil {
		a.poll.lastGood, a.poll.failures, a.poll.err = now, 0, ""
	} else {
		a.poll.failures++
		a.poll.err = err.Error()
	}
	a.mu.Unlock()
	a.touch()
}

// pollUntilSettled asks for the policy until there is one and the beacons have
// nothing newer, for as long as that takes.
func (a *Agent) pollUntilSettled(ctx context.Context) error {
	p := pull.Persist{Backoff: pull.FirstContact, Wake: a.wake, Failed: a.noteFailure}
	return p.Run(ctx, func(ctx context.Context) error {
		_, err := a.try(ctx)
		if pull.Verdict(err) && a.policy() != nil {
			a.log.Warn("no newer policy", slog.Any("err", err))
			return nil // the last good one stays; the schedule says when to ask again
		}
		return err
	})
}

func (a *Agent) noteFailure(n int, err error, next time.Time) {
	a.mu.Lock()
	a.poll.nextTry = next.UTC()
	a.mu.Unlock()
	a.touch()
	level := slog.LevelWarn
	if n > 5 {
		level = slog.LevelDebug // an outage of days must not fill the log; the status has it
	}
	a.log.LogAttrs(context.Background(), level, "policy not fetched", slog.Any("err", err), slog.Int("failures", n), slog.Time("next_try", next))
}

// Pull asks for the policy once and reports whether a new one is in force.
// An error that matches [ErrNoPolicy] means that no bundle applies.
func (a *Agent) Pull(ctx context.Context) (Status, bool, error) {
	changed, err := a.try(ctx)
	if err != nil {
		err = fmt.Errorf("pull policy: %w", err)
	}
	status, saveErr := a.saveStatus()
	return status, changed, errors.Join(err, saveErr)
}

// ErrNoPolicy means that no bundle applies to this device: it goes by its last
// good policy, or its built-in schedule.
var ErrNoPolicy = pull.ErrNoPolicy
