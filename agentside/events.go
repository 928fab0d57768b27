package agentside

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"inventorybeacon/agentside/pull"
	"inventorybeacon/schedule"
)

// event is an event of the schedule in force.
type event struct {
	schedule.Event
	builtIn bool
}

// runStatus is how an event's last run went.
type runStatus struct {
	began time.Time
	err   string
}

// What the built-in events run, beside what a policy's may.
const (
	runPolicy    = "policy"
	runSettings  = "settings"
	runInventory = "inventory"
	runUpload    = "upload"
	runLogs      = "logs"
)

// startSpread is how far apart the first polls of a fleet that starts at once
// are, once its agents have a policy. A longer one spares the beacon more; a
// shorter one learns sooner what changed while the machine was off.
const startSpread = 5 * time.Minute

// eventsOf returns the schedule in force under p, which may be nil: what p
// says, and what the agent does whatever a policy says.
func eventsOf(p *pull.Policy) []event {
	var out []event
	polls := false
	if p != nil {
		for _, e := range p.Events {
			if runs(e.Run) {
				out = append(out, event{Event: e})
				polls = polls || e.Run == runPolicy && slices.ContainsFunc(e.Triggers, recurs)
			}
		}
	}
	start := schedule.Trigger{Type: schedule.TypeStartup}
	if p != nil {
		start.Window = startSpread
	}
	poll := builtIn("Built-in policy poll", runPolicy)
	if polls {
		poll.Triggers = nil
	}
	poll.Triggers = append(poll.Triggers, start)
	out = append(out, event{poll, true})
	if p == nil {
		out = append(out, event{builtIn("Built-in inventory", runInventory), true})
	}
	return append(out, event{builtIn("Built-in log upload", runLogs), true})
}

// builtIn returns an event that is due once a day, whatever the time. Its id is
// one that no event of a policy has, even one of the same name.
func builtIn(name, run string) schedule.Event {
	e := schedule.Daily(name, run, 0, schedule.MaxWindow-time.Second)
	e.ID = schedule.EventID("\x00" + name)
	return e
}

// recurs reports whether a trigger comes due again and again by the clock. A
// poll that has no such trigger may be the last one.
func recurs(t schedule.Trigger) bool { return t.Type.Timed() && t.Type != schedule.TypeOnce }

// runs reports whether this agent does what an event asks for.
func runs(run string) bool {
	switch run {
	case runPolicy, runSettings, runInventory, runUpload:
		return true
	}
	return false
}

// warnings says what a policy asks for that this agent does not do.
func warnings(p *pull.Policy) []string {
	out := slices.Clone(p.Warnings)
	if _, err := p.Settings.ForgetAt(); err != nil {
		out = append(out, err.Error())
	}
	for _, e := range p.Events {
		if !runs(e.Run) {
			what, _, _ := strings.Cut(e.Run, ":")
			out = append(out, fmt.Sprintf("event %q runs %s, which this agent does not do: ignored", e.Name, what))
		}
	}
	return out
}

// do runs one event of the schedule.
func (a *Agent) do(ctx context.Context, run schedule.Run) error {
	id := strings.ToLower(run.Event.ID)
	began := time.Now().UTC()
	a.noteRun(id, runStatus{began: began})
	err := a.doRun(ctx, run.Event.Run)
	if ctx.Err() == nil {
		status := runStatus{began: began}
		if err != nil {
			status.err = err.Error()
		}
		a.noteRun(id, status)
	}
	return err
}

func (a *Agent) noteRun(id string, r runStatus) {
	a.mu.Lock()
	a.runs[id] = r
	a.mu.Unlock()
	a.touch()
}

func (a *Agent) doRun(ctx context.Context, what string) error {
	switch what {
	case runPolicy, runSettings: // settings come with the policy: one conditional request asks for both
		return a.pollUntilSettled(ctx)
	case runInventory:
		_, err := a.takeInventory(ctx)
		return err
	case runUpload:
		_, _, err := a.outbox.Scan(ctx, time.Now())
		return err
	case runLogs:
		return a.shipLog(ctx)
	}
	a.log.Warn("event ignored", slog.String("run", what))
	return nil
}
