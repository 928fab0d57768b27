package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"inventorybeacon/beacon/desk"
	"inventorybeacon/cmd/internal/cli"
)

func traceCommand(o *operator) *cobra.Command {
	return &cobra.Command{
		Use: "trace DEVICE", Short: "Say why a device has or has not reported, and what to do", Args: cli.Args(cobra.ExactArgs(1)),
		Long: "Say why a device has or has not reported, and what to do; then every fact. DEVICE is NAME, DOMAIN/NAME or an address.",
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := desk.TraceDevice.Ask(cmd.Context(), o.data, args[0])
			if err != nil {
				return err
			}
			return o.print(cmd, t, func() error { return writeTrace(cmd.OutOrStdout(), t, time.Now()) })
		},
	}
}

func writeTrace(w io.Writer, t desk.Traced, now time.Time) error {
	fmt.Fprintln(w, cli.Printable(t.Verdict.Text))
	if t.Verdict.Do != "" {
		fmt.Fprintln(w, "  do:  ", cli.Printable(t.Verdict.Do))
	}
	for _, n := range t.Verdict.Notes {
		fmt.Fprintln(w, "  note:", cli.Printable(n))
	}
	fmt.Fprintln(w)
	if err := writeDevices(w, t.Devices, now); err != nil {
		return err
	}
	for _, c := range t.Strangers {
		f := append(facts{{"polled as", deviceName(c.Domain, c.Name)}}, contactFacts(c, now)...)
		if err := f.write(w); err != nil {
			return err
		}
	}
	if len(t.Devices) == 0 {
		if err := toldFacts(t.Told, now).write(w); err != nil {
			return err
		}
	}
	if len(t.Uploads) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return uploadsTable(t.Uploads).Write(w)
}
