package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"inventorybeacon/agentside"
	"inventorybeacon/cmd/internal/cli"
)

func (p *person) status() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show how the agent is, running or not", Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := agentside.ReadStatus(p.options.Data)
			if err != nil {
				return err
			}
			if p.json {
				return cli.JSON(cmd.OutOrStdout(), st)
			}
			return writeStatus(cmd.OutOrStdout(), st, time.Now())
		},
	}
}

func writeStatus(w io.Writer, st agentside.Status, now time.Time) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		value := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "?") // a file's name can hold one
		fmt.Fprintf(tw, "%s\t%s\n", name, cli.Printable(value))
	}
	line("state", "%s, as of %s", state(st), cli.Ago(st.Updated, now))
	line("device", "%s/%s, agent id %s, version %s", st.Domain, st.Device, st.AgentID, st.Version)
	line("policy", "%s", policyText(st.Policy, now))
	if st.Policy.Error != "" {
		line("  last error", "%s; next try %s", st.Policy.Error, cli.Ago(st.Policy.NextTry, now))
	}
	line("outbox", "%s, %s, waiting; last receipt %s", cli.Count(st.Outbox.Waiting, "file"), cli.Size(st.Outbox.Bytes), cli.Ago(st.Outbox.LastAck, now))
	if st.Outbox.Held > 0 {
		line("  kept", "%s", keptText(st.Outbox, now))
	}
	if st.Outbox.Error != "" {
		line("  last error", "%s; next try %s", st.Outbox.Error, cli.Ago(st.Outbox.NextTry, now))
	}
	for _, f := range st.Outbox.Aside {
		line("  "+f.State, "%s/%s: %s", f.Kind, f.File, f.Reason)
	}
	for _, f := range st.Outbox.Stuck {
		line("  cannot be sent", "%s/%s: %s", f.Kind, f.File, f.Reason)
	}
	for _, b := range st.Beacons {
		line("beacon", "%s %s", b.Name, beaconText(b, now))
	}
	for _, e := range st.Events {
		line("event", "%s", eventText(e, now))
	}
	for _, s := range st.Warnings {
		line("warning", "%s", s)
	}
	return tw.Flush()
}

// keptText says what is with a beacon already, and what it stays for.
func keptText(o agentside.OutboxStatus, now time.Time) string {
	text := fmt.Sprintf("%s of these, %s, with a beacon, and here until custody reaches level %q", cli.Count(o.Held, "file"), cli.Size(o.HeldBytes), o.ForgetAt)
	if !o.NextAsk.IsZero() {
		text += "; next question " + cli.Ago(o.NextAsk, now)
	}
	return text
}

func state(st agentside.Status) string {
	if st.Holder == nil {
		return "not running"
	}
	return fmt.Sprintf("running (%s, process %d)", st.Holder.Command, st.Holder.PID)
}

func policyText(p agentside.PolicyStatus, now time.Time) string {
	if !p.Held {
		return "none yet: the built-in schedule applies"
	}
	return fmt.Sprintf("revision %s, taken %s from %s; last asked %s", p.Revision, cli.Ago(p.Taken, now), p.From, cli.Ago(p.LastTry, now))
}

func beaconText(b agentside.LocationStatus, now time.Time) string {
	var words []string
	if b.InUse {
		words = append(words, "in use")
	}
	if b.Down.After(now) {
		words = append(words, "resting until "+cli.When(b.Down))
	}
	if b.Error != "" {
		words = append(words, b.Error)
	}
	return strings.Join(words, "; ")
}

func eventText(e agentside.EventStatus, now time.Time) string {
	text := fmt.Sprintf("%s (%s)", e.Name, e.Run)
	if e.BuiltIn {
		text += ", built in"
	}
	if !e.Next.IsZero() {
		text += ", next " + cli.Ago(e.Next, now)
	}
	if !e.Last.IsZero() {
		text += ", last " + cli.Ago(e.Last, now)
	}
	if e.Error != "" {
		text += ": " + e.Error
	}
	return text
}
