package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"inventorybeacon/beacon/desk"
	"inventorybeacon/cmd/internal/cli"
	"inventorybeacon/uploads/catalogue"
)

func statusCommand(o *operator) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show how the beacon is, on one screen", Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := desk.GetStatus.Ask(cmd.Context(), o.data, struct{}{})
			if err != nil {
				return err
			}
			return o.print(cmd, st, func() error { return writeStatus(cmd.OutOrStdout(), st, time.Now()) })
		},
	}
}

func writeStatus(w io.Writer, st desk.Status, now time.Time) error {
	for _, p := range st.Problems {
		fmt.Fprintln(w, "! "+cli.Printable(p))
	}
	err := facts{
		{"state", st.State}, {"name", st.Name}, {"since", cli.When(st.Started)},
		{"agents connect to", strings.Join(st.Agents, " ")}, {"admin", st.Admin},
		{"policy revision", st.Revision.String()},
		{"devices", fmt.Sprint(st.Counts.Devices)},
		{"uploads", uploadCounts(st.Counts)},
		{"waiting", waiting(st.Spool, now)},
		{"unfinished", unfinished(st.Spool)},
		{"pressure", pressure(st.Pressure)},
	}.write(w)
	if err != nil || len(st.Sinks) == 0 {
		return err
	}
	fmt.Fprintln(w)
	return sinksTable(st.Sinks).Write(w)
}

func waiting(s desk.SpoolStatus, now time.Time) string {
	if s.Files == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%s, %s, the oldest %s", cli.Count(s.Files, "file"), cli.Size(s.Bytes), cli.Ago(s.Oldest, now))
}

func unfinished(s desk.SpoolStatus) string {
	if s.Unfinished == 0 {
		return ""
	}
	return fmt.Sprintf("%s, %s of them are here", cli.Count(s.Unfinished, "upload"), cli.Size(s.UnfinishedBytes))
}

func uploadCounts(c catalogue.Counts) string {
	var parts []string
	for _, s := range catalogue.States {
		if n := c.Uploads[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func sinksTable(sinks []desk.SinkStatus) cli.Table {
	t := cli.Table{Header: []string{"SINK", "REQUIRED", "WAITING", "DEFERRED", "FAILURES", "NEXT TRY", "LAST ERROR"}}
	for _, s := range sinks {
		next := cli.When(s.NextAttempt)
		switch {
		case s.Stopped:
			next = "stopped"
		case !s.ClosedUntil.IsZero():
			next = "outside its hours until " + cli.When(s.ClosedUntil)
		}
		t.Rows = append(t.Rows, []string{
			s.Sink, fmt.Sprint(s.Required), fmt.Sprint(s.Waiting), fmt.Sprint(s.Deferred), fmt.Sprint(s.FailuresInARow), next, dash(s.LastError),
		})
	}
	return t
}
