package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"inventorybeacon/beacon/desk"
	"inventorybeacon/cmd/internal/cli"
	"inventorybeacon/policy"
)

func policyList(o *operator) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the bundles in force", Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := desk.ShowPolicy.Ask(cmd.Context(), o.data, desk.PolicyQuery{})
			if err != nil {
				return err
			}
			return o.print(cmd, a.Bundles, func() error { return bundlesTable(a.Bundles).Write(cmd.OutOrStdout()) })
		},
	}
}

func bundlesTable(bundles []policy.Bundle) cli.Table {
	t := cli.Table{Header: []string{"BUNDLE", "APPLIES TO", "PRIORITY", "SAYS"}, Empty: "no bundle is in force"}
	for _, b := range bundles {
		t.Rows = append(t.Rows, []string{b.Name, appliesTo(b.AppliesTo), fmt.Sprint(b.Priority), says(b)})
	}
	return t
}

func appliesTo(a policy.AppliesTo) string {
	all := joined(a.Devices, a.Domains, a.Groups, a.Platforms, a.Addresses, a.Tags)
	if all == "" {
		return "*"
	}
	return all
}

func says(b policy.Bundle) string {
	var parts []string
	if n := len(b.Schedule); n > 0 {
		parts = append(parts, cli.Count(n, "event"))
	}
	if len(b.Settings) > 0 {
		parts = append(parts, "settings")
	}
	if b.Failover != nil {
		parts = append(parts, cli.Count(len(b.Failover.Beacons), "beacon"))
	}
	if n := len(b.Files); n > 0 {
		parts = append(parts, cli.Count(n, "file"))
	}
	return strings.Join(parts, ", ")
}

func policyShow(o *operator) *cobra.Command {
	var q desk.PolicyQuery
	cmd := &cobra.Command{
		Use: "show [DEVICE]", Short: "Show what a device is told; without a device, what is in force", Args: cli.Args(cobra.MaximumNArgs(1)),
		Long: `Show what a device is told, named as NAME or DOMAIN/NAME; without a device, what is in force.
What the command line leaves open (domain, address) is taken from the device's last contact.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				q.Device = args[0]
			}
			a, err := desk.ShowPolicy.Ask(cmd.Context(), o.data, q)
			if err != nil {
				return err
			}
			return o.print(cmd, a, func() error { return writePolicy(cmd.OutOrStdout(), a) })
		},
	}
	cmd.Flags().StringVar(&q.Domain, "domain", "", "the device's domain")
	cmd.Flags().StringVar(&q.OS, "os", "", "the device's operating system: linux, windows or darwin")
	cmd.Flags().StringVar(&q.Arch, "arch", "", "the device's architecture, for example amd64")
	cmd.Flags().StringVar(&q.Address, "address", "", "the device's address, as the beacon sees it")
	cmd.Flags().BoolVar(&q.Classic, "classic", false, "what an agent of the incumbent is told")
	return cmd
}

func writePolicy(w io.Writer, a desk.PolicyAnswer) error {
	if a.Revision.IsZero() {
		_, err := fmt.Fprintln(w, "nothing was published yet: put a bundle into the drop folder, or run `beacon policy publish BUNDLE`")
		return err
	}
	facts{
		{"revision", a.Revision.String()}, {"published", cli.When(a.Revision.Created)}, {"by", a.Revision.By},
		{"publisher", a.Revision.Publisher}, {"follows", a.Mirrors},
	}.write(w)
	fmt.Fprintln(w)
	if a.Device == "" {
		return bundlesTable(a.Bundles).Write(w)
	}
	if a.Effective == nil {
		_, err := fmt.Fprintf(w, "no bundle applies to %s\n", cli.Printable(deviceName(a.Domain, a.Device)))
		return err
	}
	return writeEffective(w, *a.Effective)
}

func writeEffective(w io.Writer, e policy.Effective) error {
	t := cli.Table{Header: []string{"EVENT", "RUNS", "WHEN", "CATCH UP"}, Empty: "no schedule"}
	for _, event := range e.Schedule {
		ev := policy.TextOf(event)
		for i, tr := range ev.Triggers {
			name, run := ev.Name, ev.Run
			if i > 0 {
				name, run = "", ""
			}
			t.Rows = append(t.Rows, []string{name, run, triggerText(tr), dash(ev.Catchup)})
		}
	}
	if err := t.Write(w); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := settingsTable(e.Settings).Write(w); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := writeFailover(w, e.Failover); err != nil {
		return err
	}
	for _, m := range e.Bundles {
		fmt.Fprintf(w, "from bundle %s\n", cli.Printable(m.Bundle))
	}
	return nil
}

func triggerText(t policy.TriggerText) string {
	parts := []string{t.Type}
	for _, p := range []struct{ word, value string }{
		{"on", strings.Join(t.Weekdays, ",")}, {"on day", days(t.Days)}, {"from", t.Start}, {"at", t.At},
		{"every", t.Repeat}, {"for", t.For}, {"within", t.Window},
	} {
		if p.value != "" {
			parts = append(parts, p.word, p.value)
		}
	}
	if t.Every > 1 {
		unit := map[string]string{"daily": "day", "weekly": "week", "monthly": "month"}[t.Type]
		parts = append(parts, "each", cli.Count(t.Every, unit))
	}
	return strings.Join(parts, " ")
}

func days(days []int) string {
	words := make([]string, len(days))
	for i, d := range days {
		words[i] = fmt.Sprint(d)
	}
	return strings.Join(words, ",")
}

func settingsTable(s policy.Settings) cli.Table {
	t := cli.Table{Header: []string{"SECTION", "SETTING", "VALUE"}, Empty: "no settings"}
	for _, section := range slices.Sorted(maps.Keys(s)) {
		for _, name := range slices.Sorted(maps.Keys(s[section])) {
			t.Rows = append(t.Rows, []string{section, name, s[section][name]})
		}
	}
	return t
}

func writeFailover(w io.Writer, f *policy.Failover) error {
	t := cli.Table{Header: []string{"BEACON", "DOWNLOAD", "UPLOAD", "PRIORITY", "PROXY"}, Empty: "no failover list"}
	if f != nil {
		for _, b := range f.Beacons {
			t.Rows = append(t.Rows, []string{b.Name, b.Download, b.Upload, priorityText(b), dash(b.Proxy)})
		}
		if f.Selector != "" {
			fmt.Fprintln(w, "selector", cli.Printable(f.Selector))
		}
	}
	return t.Write(w)
}

func priorityText(b policy.Beacon) string {
	switch {
	case b.Invalid:
		return "invalid"
	case b.Auto:
		return "auto"
	}
	return fmt.Sprint(b.Priority)
}
