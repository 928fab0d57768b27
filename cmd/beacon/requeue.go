package main

import (
	"io"
	"strings"

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
			"A relay that stopped because of a loop goes on, and a destination that failed is tried at once. What is in quarantine is let out by `beacon uploads quarantine release`.",
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
			st, err := desk.GetStatus.Ask(cmd.Context(), o.data, struct{}{}) // before a try clears it
			if err != nil {
				return err
			}
			out, err := desk.RequeueUploads.Ask(cmd.Context(), o.data, in)
			if err != nil {
				return err
			}
			return o.print(cmd, out, func() error {
				return writeRequeued(cmd.OutOrStdout(), out, resting(st.Sinks, in.Sink))
			})
		},
	}
	cmd.Flags().StringVar(&in.Device, "device", "", "those of this device, as NAME or DOMAIN/NAME")
	cmd.Flags().StringVar(&in.Kind, "kind", "", "those of this kind, for example Inventories")
	cmd.Flags().StringVar(&in.Sink, "sink", "", "to this destination only, as `beacon status` names it")
	cmd.Flags().BoolVar(&all, "all", false, "all of them")
	return cmd
}

// writeRequeued says what goes on: a file that was neither set aside nor deferred is
// not counted, and yet goes as soon as its destination is tried.
func writeRequeued(w io.Writer, out desk.Requeued, resting []string) error {
	var said strings.Builder
	said.WriteString(cli.Count(out.Offered, "file") + " offered again\n")
	for _, sink := range resting {
		said.WriteString(cli.Printable(sink) + ", which failed, is tried at once; what waits for it goes on if it is well\n")
	}
	_, err := io.WriteString(w, said.String())
	return err
}

// resting are the destinations that failed and would be tried later, of all or of
// the one that is named.
func resting(sinks []desk.SinkStatus, name string) (names []string) {
	for _, s := range sinks {
		if s.FailuresInARow > 0 && s.ClosedUntil.IsZero() && (name == "" || name == s.Sink) {
			names = append(names, s.Sink)
		}
	}
	return names
}
