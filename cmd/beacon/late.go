package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"inventorybeacon/beacon/desk"
	"inventorybeacon/cmd/internal/cli"
	"inventorybeacon/uploads/catalogue"
	"inventorybeacon/uploads/fleet"
)

// A lateness asks for devices that should have reported.
type lateness struct {
	while time.Duration
	never bool
}

func (l *lateness) flags(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&l.while, "late", 0, "those without an inventory for this long, by cause (without a time 50h)")
	cmd.Flags().Lookup("late").NoOptDefVal = catalogue.DefaultLate.String()
	cmd.Flags().BoolVar(&l.never, "never", false, "those expected that no beacon ever heard of")
}

func (l *lateness) asked(cmd *cobra.Command) bool { return l.never || cmd.Flags().Changed("late") }

func (l *lateness) list(cmd *cobra.Command, o *operator, args []string, limit int) error {
	if len(args) > 0 { // --late 48h
		d, err := time.ParseDuration(args[0])
		if err != nil || !cmd.Flags().Changed("late") {
			return cli.Usagef("%q is no time such as 48h; --late and --never take no TEXT", args[0])
		}
		l.while = d
	}
	if l.never && cmd.Flags().Changed("late") {
		return cli.Usagef("--late and --never exclude each other: --late lists those never heard of, too")
	}
	if cmd.Flags().Changed("late") && l.while <= 0 {
		return cli.Usagef("--late must be more than nothing")
	}
	for _, other := range []string{"clones", "silent", "order"} {
		if cmd.Flags().Changed(other) {
			return cli.Usagef("--late and --never exclude --%s", other)
		}
	}
	if l.while == 0 {
		l.while = catalogue.DefaultLate
	}
	late, err := desk.LateAgents.Ask(cmd.Context(), o.data, desk.LateFilter{While: l.while, Never: l.never})
	if err != nil {
		return err
	}
	slices.SortFunc(late, func(a, b catalogue.Late) int {
		return strings.Compare(strings.ToLower(a.Domain+"/"+a.Name), strings.ToLower(b.Domain+"/"+b.Name))
	})
	most := lateNames
	if cmd.Flags().Changed("limit") {
		most = limit
	}
	return o.print(cmd, lateRows(cmd, late, limit), func() error { return writeLate(cmd.OutOrStdout(), late, most, time.Now()) })
}

// lateRows are all, or so many of each cause if a limit was given.
func lateRows(cmd *cobra.Command, late []catalogue.Late, limit int) []catalogue.Late {
	if !cmd.Flags().Changed("limit") {
		return late
	}
	rows, of := []catalogue.Late{}, map[string]int{}
	for _, l := range late {
		if of[lateTitle(l)]++; of[lateTitle(l)] <= limit {
			rows = append(rows, l)
		}
	}
	return rows
}

// lateTitle is the cause, and the refusal's code if that is the cause.
func lateTitle(l catalogue.Late) string { return strings.TrimSpace(string(l.Cause) + " " + l.Code) }

// causeTexts say what a cause means, and what to do.
var causeTexts = map[catalogue.Cause]string{
	catalogue.CauseNever:     "never seen by any beacon: is the agent installed, and does it know a beacon?",
	catalogue.CauseNoUpload:  "calls, but nothing was ever accepted: `beacon-agent upload` on the machine says why",
	catalogue.CauseRefused:   "the last upload was turned away",
	catalogue.CauseInventory: "calls and uploads, but no inventory: see its schedule with `beacon policy show DEVICE`",
	catalogue.CauseClock:     "its clock is more than a day off",
	catalogue.CauseBeacon:    "the beacon that hears it is silent itself",
	catalogue.CauseStopped:   "stopped calling: is the machine on?",
}

// lateNames is how many of a group are named without --limit; --json names all.
const lateNames = 20

func writeLate(w io.Writer, late []catalogue.Late, most int, now time.Time) error {
	if len(late) == 0 {
		_, err := fmt.Fprintln(w, "nobody is late")
		return err
	}
	groups := map[string][]catalogue.Late{}
	var order []string
	for _, cause := range catalogue.Causes {
		for _, l := range late {
			if l.Cause != cause {
				continue
			}
			title := lateTitle(l)
			if groups[title] == nil {
				order = append(order, title)
			}
			groups[title] = append(groups[title], l)
		}
	}
	t := cli.Table{Header: []string{"DEVICES", "CAUSE", "MEANING"}}
	for _, title := range order {
		t.Rows = append(t.Rows, []string{fmt.Sprint(len(groups[title])), title, causeTexts[groups[title][0].Cause]})
	}
	if err := t.Write(w); err != nil {
		return err
	}
	for _, title := range order {
		fmt.Fprintf(w, "\n%s (%d)\n", cli.Printable(title), len(groups[title]))
		if err := lateTable(groups[title][:min(len(groups[title]), most)], now).Write(w); err != nil {
			return err
		}
		if more := len(groups[title]) - most; more > 0 {
			fmt.Fprintf(w, "and %d more: --limit %d names them\n", more, len(groups[title]))
		}
	}
	return nil
}

func lateTable(group []catalogue.Late, now time.Time) cli.Table {
	t := cli.Table{Header: []string{"DEVICE", "LAST SEEN", "LAST INVENTORY", "HEARD BY", "AS OF"}}
	for _, l := range group {
		heard := "-"
		if l.Beacon != "" {
			heard = asOf(l.Heard, now)
		}
		t.Rows = append(t.Rows, []string{deviceName(l.Domain, l.Name), cli.Ago(l.Seen, now), cli.Ago(l.Inventory, now), dash(l.Beacon), heard})
	}
	return t
}

const expectLong = `Name the devices that should report, for "beacon agents list --late" and "--never".

FILE.csv has a device's name and, if it is to be compared, its domain in a line;
further columns do not matter, nor a first line of headings. It replaces what was
named before. "-" reads from standard input.`

func agentsExpect(o *operator) *cobra.Command {
	var add bool
	cmd := &cobra.Command{
		Use: "expect FILE.csv", Short: "Name the devices that should report", Long: expectLong, Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readExpected(cmd, args[0])
			if err != nil {
				return err
			}
			devices, err := fleet.ParseExpected(text)
			if err != nil {
				return errors.New(args[0] + ": " + strings.ReplaceAll(err.Error(), "\n", "\n"+args[0]+": "))
			}
			done, err := desk.ExpectAgents.Ask(cmd.Context(), o.data, desk.Expectation{Devices: devices, Add: add})
			if err != nil {
				return err
			}
			return o.print(cmd, done, func() error {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s expected, %d before\n", cli.Count(done.Devices, "device"), done.Before)
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&add, "add", false, "keep those that are expected already")
	return cmd
}

func readExpected(cmd *cobra.Command, file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(cmd.InOrStdin())
	}
	return os.ReadFile(file)
}
