package main

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"inventorybeacon/beacon/desk"
	"inventorybeacon/cmd/internal/cli"
	"inventorybeacon/uploads/catalogue"
	"inventorybeacon/uploads/spool"
)

const lossesLong = `List files that left a spool in another way than by delivery, the latest first:
those of this beacon, and those that agents and beacons below it reported.

AGE is how long the file had been there. AGAIN says whether the same bytes came
here later, which closes the entry.`

var lossReasons = []string{spool.LossQuota, spool.LossAge, spool.LossRefused, spool.LossOperator, spool.LossDamaged}

func uploadsLosses(o *operator) *cobra.Command {
	var f catalogue.LossFilter
	var since time.Duration
	cmd := &cobra.Command{
		Use: "losses", Short: "List files that were lost, and why", Long: lossesLong, Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case since < 0 || f.Limit < 1:
				return cli.Usagef("--since and --limit must be more than nothing")
			case f.Reason != "" && !slices.Contains(lossReasons, f.Reason):
				return cli.Usagef("--reason %q is none of: %s", f.Reason, strings.Join(lossReasons, " "))
			case f.Here && f.Beacon != "":
				return cli.Usagef("--here and --beacon exclude each other")
			case since > 0:
				f.Since = time.Now().Add(-since)
			}
			rows, err := desk.ListLosses.Ask(cmd.Context(), o.data, f)
			if err != nil {
				return err
			}
			return o.print(cmd, rows, func() error { return lossesTable(rows).Write(cmd.OutOrStdout()) })
		},
	}
	cmd.Flags().StringVar(&f.Device, "device", "", "only of this device, as NAME or DOMAIN/NAME")
	cmd.Flags().StringVar(&f.Kind, "kind", "", "only of this kind, for example Inventories")
	cmd.Flags().StringVar(&f.Reason, "reason", "", "only for this reason: "+strings.Join(lossReasons, " "))
	cmd.Flags().DurationVar(&since, "since", 0, "only lost within this time, for example 24h")
	cmd.Flags().BoolVar(&f.Open, "open", false, "only those whose bytes did not come again")
	cmd.Flags().BoolVar(&f.Here, "here", false, "only those of this beacon")
	cmd.Flags().StringVar(&f.Beacon, "beacon", "", "only those that this beacon, or agent:ID, reported")
	cmd.Flags().IntVar(&f.Limit, "limit", catalogue.DefaultLimit, "the most rows to print")
	return cmd
}

func lossesTable(rows []catalogue.Loss) cli.Table {
	t := cli.Table{
		Header: []string{"RECEIPT", "KIND", "NAME", "DEVICE", "SIZE", "LOST", "AGE", "REASON", "AGAIN", "BEACON", "DETAIL"},
		Empty:  "no losses",
	}
	for _, l := range rows {
		t.Rows = append(t.Rows, []string{
			dash(l.Receipt), dash(l.Kind), dash(l.Name), deviceName(l.Domain, l.Device), cli.Size(l.Bytes), cli.When(l.At),
			age(l), l.Reason, again(l), dash(l.Beacon), l.Detail,
		})
	}
	return t
}

func age(l catalogue.Loss) string {
	if l.Received.IsZero() {
		return "-"
	}
	return l.Age().String()
}

func again(l catalogue.Loss) string {
	if l.Resent > 0 {
		return "yes"
	}
	return "-"
}
