package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"inventorybeacon/beacon/desk"
	"inventorybeacon/cmd/internal/cli"
	"inventorybeacon/uploads/quarantine"
)

const quarantineLong = `Files that a destination, or the check of their content, will never take lie in
quarantine until somebody releases or drops them, or until there is no more room
or time for them ("quarantine" in the configuration). Each is in the loss ledger
too, as refused.`

func quarantineCommand(o *operator) *cobra.Command {
	cmd := cli.Group("quarantine", "Files that were refused, and what to do with them",
		quarantineList(o), quarantineShow(o), quarantineRelease(o), quarantineDrop(o))
	cmd.Long = quarantineLong
	return cmd
}

func quarantineList(o *operator) *cobra.Command {
	var f desk.QuarantineFilter
	cmd := &cobra.Command{
		Use: "list", Short: "List what is in quarantine, the latest first", Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.Limit < 1 {
				return cli.Usagef("--limit must be more than nothing")
			}
			rows, err := desk.ListQuarantine.Ask(cmd.Context(), o.data, f)
			if err != nil {
				return err
			}
			return o.print(cmd, rows, func() error { return quarantineTable(rows, f.Left).Write(cmd.OutOrStdout()) })
		},
	}
	cmd.Flags().BoolVar(&f.Left, "left", false, "those whose bytes left by age, quota or hand instead")
	cmd.Flags().IntVar(&f.Limit, "limit", 100, "the most rows to print")
	return cmd
}

func quarantineTable(rows []quarantine.Entry, left bool) cli.Table {
	t := cli.Table{
		Header: []string{"RECEIPT", "KIND", "NAME", "DEVICE", "SIZE", "SINCE", "REFUSED BY", "REASON"},
		Empty:  "nothing is in quarantine",
	}
	if left {
		t.Header, t.Empty = append(t.Header, "LEFT"), "nothing left the quarantine"
	}
	for _, e := range rows {
		row := []string{e.ID, e.Kind, e.Name.String(), deviceName(e.Device.Domain, e.Device.Name), cli.Size(e.Size), cli.When(e.At), e.Sink, e.Reason}
		if left {
			row = append(row, departure(e))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// departure says how and when a file's bytes left; nothing if they are here.
func departure(e quarantine.Entry) string {
	if e.Left == nil {
		return ""
	}
	s := cli.When(e.Left.At) + " by " + e.Left.How
	if e.Left.By != "" {
		s += " " + e.Left.By
	}
	return s
}

const receiptPrefix = "The start of a receipt is enough if no other begins with it."

func quarantineShow(o *operator) *cobra.Command {
	return &cobra.Command{
		Use: "show RECEIPT", Short: "Show where a quarantined file came from and why it is there", Args: cli.Args(cobra.ExactArgs(1)),
		Long:              "Show where a quarantined file came from and why it is there. " + receiptPrefix + "\nIts bytes are printed by \"beacon uploads cat\".",
		ValidArgsFunction: o.quarantined,
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := desk.ShowQuarantined.Ask(cmd.Context(), o.data, args[0])
			if err != nil {
				return err
			}
			return o.print(cmd, e, func() error { return quarantineFacts(e).write(cmd.OutOrStdout()) })
		},
	}
}

func quarantineFacts(e quarantine.Entry) facts {
	return facts{
		{"receipt", e.ID}, {"refused by", e.Sink}, {"reason", e.Reason}, {"since", cli.When(e.At)}, {"left", departure(e)},
		{"kind", e.Kind}, {"name", e.Name.String()}, {"device", deviceName(e.Device.Domain, e.Device.Name)}, {"agent", e.AgentID},
		{"sha256", e.Digest.String()}, {"size", fmt.Sprintf("%s (%d bytes)", cli.Size(e.Size), e.Size)},
		{"received", cli.When(e.Received)}, {"from", e.Peer}, {"beacon", e.Beacon}, {"via", strings.Join(e.Via, ", ")},
	}
}

func quarantineRelease(o *operator) *cobra.Command {
	return &cobra.Command{
		Use: "release RECEIPT…", Short: "Let quarantined files go on to their destinations, unchecked", Args: cli.Args(cobra.MinimumNArgs(1)),
		Long: `Let quarantined files go on to their destinations as they are, with the same
receipts. Their content is not checked again. ` + receiptPrefix,
		ValidArgsFunction: o.quarantined,
		RunE: func(cmd *cobra.Command, args []string) error {
			var done []desk.Released
			for _, receipt := range args {
				r, err := desk.ReleaseQuarantined.Ask(cmd.Context(), o.data, desk.Decision{Receipt: receipt, By: me()})
				if err != nil {
					return err
				}
				done = append(done, r)
				if !o.json {
					fmt.Fprintf(cmd.OutOrStdout(), "released %s (%s/%s): it waits for its relay\n", r.Entry.ID, r.Entry.Kind, cli.Printable(r.Entry.Name.String()))
				}
			}
			return o.print(cmd, done, func() error { return nil })
		},
	}
}

func quarantineDrop(o *operator) *cobra.Command {
	return &cobra.Command{
		Use: "drop RECEIPT…", Short: "Delete quarantined files for good", Args: cli.Args(cobra.MinimumNArgs(1)),
		Long: `Delete the bytes of quarantined files for good. That they were refused, and who
dropped them, stays on record ("list --left"). ` + receiptPrefix,
		ValidArgsFunction: o.quarantined,
		RunE: func(cmd *cobra.Command, args []string) error {
			var done []quarantine.Entry
			for _, receipt := range args {
				e, err := desk.DropQuarantined.Ask(cmd.Context(), o.data, desk.Decision{Receipt: receipt, By: me()})
				if err != nil {
					return err
				}
				done = append(done, e)
				if !o.json {
					fmt.Fprintf(cmd.OutOrStdout(), "dropped %s (%s/%s)\n", e.ID, e.Kind, cli.Printable(e.Name.String()))
				}
			}
			return o.print(cmd, done, func() error { return nil })
		},
	}
}

// quarantined completes receipts.
func (o *operator) quarantined(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	rows, err := desk.ListQuarantine.Ask(cmd.Context(), o.data, desk.QuarantineFilter{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []string
	for _, e := range rows {
		if strings.HasPrefix(e.ID, begun) {
			out = append(out, e.ID+"\t"+cli.Printable(e.Name.String()))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
