package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"inventorybeacon/beacon/desk"
	"inventorybeacon/cmd/internal/cli"
)

func uploadsRequeue(o *operator) *cobra.Command {
	var in desk.Requeue
	var all bool
	cmd := &cobra.Command{
		Use: "requeue [RECEIPT...]", Short: "Offer files again, now, that a destination set aside or deferred",
		Long: "Offer files again, now and as if nothing had happened, that a destination set aside or deferred. " +
			"They are offered again by themselves, too: once a day, or when nothing else is left to send. " +
			"A relay that stopped because of a loop goes on. What is in quarantine is let out by `beacon uploads quarantine release`.",
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Receipts = args
			picked := 0
			for _, given := range []bool{len(args) > 0, in.Device != "" || in.Kind != "", all} {
				if given {
					picked++
				}
			}
			if picked != 1 {
				return cli.Usagef("say which: receipts, or --device and --kind, or --all")
			}
			out, err := desk.RequeueUploads.Ask(cmd.Context(), o.data, in)
			if err != nil {
				return err
			}
			return o.print(cmd, out, func() error {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s offered again\n", cli.Count(out.Offered, "file"))
				return err
			})
		},
	}
	cmd.Flags().StringVar(&in.Device, "device", "", "those of this device, as NAME or DOMAIN/NAME")
	cmd.Flags().StringVar(&in.Kind, "kind", "", "those of this kind, for example Inventories")
	cmd.Flags().StringVar(&in.Sink, "sink", "", "to this destination only, as `beacon status` names it")
	cmd.Flags().BoolVar(&all, "all", false, "all of them")
	return cmd
}
