package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"inventorybeacon/beacon/desk"
	"inventorybeacon/cmd/internal/cli"
	"inventorybeacon/uploads/catalogue"
)

func uploadsCommands(o *operator) []*cobra.Command {
	return []*cobra.Command{uploadsList(o), uploadsShow(o), uploadsCat(o), uploadsRequeue(o), uploadsLosses(o), uploadsReindex(o), uploadsExport(o), uploadsImport(o), quarantineCommand(o)}
}

func uploadsList(o *operator) *cobra.Command {
	var f catalogue.UploadFilter
	var state string
	var since time.Duration
	cmd := &cobra.Command{
		Use: "list", Short: "List uploads, the newest first", Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if f.State, err = parseState(state); err != nil {
				return err
			}
			switch {
			case since < 0 || f.Limit < 1:
				return cli.Usagef("--since and --limit must be more than nothing")
			case since > 0:
				f.Since = time.Now().Add(-since)
			}
			rows, err := desk.ListUploads.Ask(cmd.Context(), o.data, f)
			if err != nil {
				return err
			}
			return o.print(cmd, rows, func() error { return uploadsTable(rows).Write(cmd.OutOrStdout()) })
		},
	}
	cmd.Flags().StringVar(&f.Device, "device", "", "only of this device, as NAME or DOMAIN/NAME")
	cmd.Flags().StringVar(&f.Kind, "kind", "", "only of this kind, for example Inventories")
	cmd.Flags().StringVar(&state, "state", "", "only in this state: "+stateNames())
	cmd.Flags().BoolVar(&f.Flagged, "flagged", false, "only those in whose content something was found")
	cmd.Flags().BoolVar(&f.Kept, "kept", false, "only those of which a copy is kept")
	cmd.Flags().DurationVar(&since, "since", 0, "only received within this time, for example 24h")
	cmd.Flags().IntVar(&f.Limit, "limit", catalogue.DefaultLimit, "the most rows to print")
	return cmd
}

func stateNames() string {
	names := make([]string, len(catalogue.States))
	for i, s := range catalogue.States {
		names[i] = string(s)
	}
	return strings.Join(names, " ")
}

func parseState(s string) (catalogue.State, error) {
	if s == "" {
		return "", nil
	}
	for _, known := range catalogue.States {
		if s == string(known) {
			return known, nil
		}
	}
	return "", cli.Usagef("--state %q is none of: %s", s, stateNames())
}

func uploadsTable(rows []catalogue.Upload) cli.Table {
	t := cli.Table{
		Header: []string{"RECEIPT", "STATE", "KIND", "NAME", "DEVICE", "SIZE", "RECEIVED"},
		Empty:  "no uploads",
	}
	for _, u := range rows {
		t.Rows = append(t.Rows, []string{
			u.Receipt, stateWord(u), u.Kind, u.Name, deviceName(u.Domain, u.Device), cli.Size(u.Bytes), cli.When(u.Received),
		})
	}
	return t
}

// stateWord says what to look at first.
func stateWord(u catalogue.Upload) string {
	switch {
	case u.Resent > 0:
		return string(u.State) + ", came again"
	case u.Flag != "":
		return string(u.State) + ", flagged"
	case u.Kept && u.State == catalogue.StateDelivered:
		return string(u.State) + ", kept"
	}
	return string(u.State)
}

func deviceName(domain, name string) string {
	switch {
	case name == "":
		return "-"
	case domain == "":
		return name
	}
	return domain + "/" + name
}

func uploadsCat(o *operator) *cobra.Command {
	return &cobra.Command{
		Use: "cat RECEIPT", Short: "Write the bytes of an upload that waits, is kept or lies in quarantine to stdout", Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return desk.CatUpload.Ask(cmd.Context(), o.data, args[0], cmd.OutOrStdout())
		},
	}
}
