package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"inventorybeacon/beacon/desk"
	"inventorybeacon/cmd/internal/cli"
	"inventorybeacon/uploads/catalogue"
)

func agentsCommands(o *operator) []*cobra.Command {
	return []*cobra.Command{agentsList(o), agentsShow(o), agentsExpect(o)}
}

const agentsLong = `List the devices that report here or to a beacon below; with TEXT those whose name,
domain or address holds it.

HEARD BY is the beacon that heard the device last, and AS OF how old that beacon's
word is: what happened since is not known here. UPLOADS and BYTES are of files that
came here: of a device that only other beacons told of, they are not known.

With --late or --never the devices that "beacon agents expect" named, or, where it
named none, those that are known, are grouped by why they have not reported.`

func agentsList(o *operator) *cobra.Command {
	f := catalogue.DeviceFilter{Order: catalogue.ByName}
	var order string
	var silent time.Duration
	var late lateness
	cmd := &cobra.Command{
		Use: "list [TEXT]", Short: "List the devices that report here or to a beacon below", Args: cli.Args(cobra.MaximumNArgs(1)),
		Long: agentsLong,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.Limit < 1 || silent < 0 {
				return cli.Usagef("--silent and --limit must be more than nothing")
			}
			if late.asked(cmd) {
				return late.list(cmd, o, args, f.Limit)
			}
			if len(args) > 0 {
				f.Text = args[0]
			}
			var err error
			if f.Order, err = parseOrder(order); err != nil {
				return err
			}
			if silent > 0 {
				f.SilentSince = time.Now().Add(-silent)
			}
			rows, err := desk.ListAgents.Ask(cmd.Context(), o.data, f)
			if err != nil {
				return err
			}
			return o.print(cmd, rows, func() error { return agentsTable(rows, time.Now()).Write(cmd.OutOrStdout()) })
		},
	}
	cmd.Flags().StringVar(&order, "order", string(catalogue.ByName), "sort by name, seen, silent or bytes")
	cmd.Flags().DurationVar(&silent, "silent", 0, "only those not heard of for this long, for example 48h")
	cmd.Flags().BoolVar(&f.Clones, "clones", false, "only names or identities that two machines seem to share")
	cmd.Flags().IntVar(&f.Limit, "limit", catalogue.DefaultLimit, "the most rows to print; with --late or --never, of each cause")
	late.flags(cmd)
	return cmd
}

func parseOrder(s string) (catalogue.DeviceOrder, error) {
	switch o := catalogue.DeviceOrder(s); o {
	case catalogue.ByName, catalogue.BySeen, catalogue.BySilent, catalogue.ByBytes:
		return o, nil
	}
	return "", cli.Usagef("--order %q is none of: name seen silent bytes", s)
}

func agentsTable(rows []catalogue.Device, now time.Time) cli.Table {
	t := cli.Table{
		Header: []string{"DEVICE", "LAST SEEN", "ADDRESS", "AGENT", "REVISION", "WAITING THERE", "UPLOADS", "BYTES", "HEARD BY", "AS OF", "NOTE"},
		Empty:  "no device has reported yet",
	}
	for _, d := range rows {
		c := lastContact(d)
		note := ""
		if d.Clone {
			note = "clone: " + d.CloneDetail
		}
		t.Rows = append(t.Rows, []string{
			deviceName(d.Domain, d.Name), cli.Ago(d.LastSeen, now), dash(c.Address), dash(c.Version),
			known(c.Revision > 0, c.Revision), known(c.Spool >= 0, c.Spool),
			known(!d.OnlyTold(), d.Uploads), known(!d.OnlyTold(), cli.Size(d.Bytes)), heardBy(d), asOf(d.Heard, now), note,
		})
	}
	return t
}

// lastContact is the last one that any beacon had with d.
func lastContact(d catalogue.Device) catalogue.Contact {
	c := d.Latest()
	for _, t := range d.Told {
		if t.LastSeen.After(c.LastSeen) {
			c = t.Contact
		}
	}
	return c
}

// heardBy names the beacon that heard d last.
func heardBy(d catalogue.Device) string {
	if d.Heard.IsZero() {
		return "here"
	}
	return d.Beacon
}

// asOf says how old another beacon's word is.
func asOf(heard, now time.Time) string {
	if heard.IsZero() {
		return "now"
	}
	return cli.Ago(heard, now)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func known[T any](ok bool, v T) string {
	if !ok {
		return "-"
	}
	return fmt.Sprint(v)
}

func agentsShow(o *operator) *cobra.Command {
	return &cobra.Command{
		Use: "show DEVICE", Short: "Show all that is known of a device", Args: cli.Args(cobra.ExactArgs(1)),
		Long: "Show all that is known of a device, named as NAME or DOMAIN/NAME, or by its address.",
		RunE: func(cmd *cobra.Command, args []string) error {
			found, err := desk.ShowAgent.Ask(cmd.Context(), o.data, args[0])
			if err != nil {
				return err
			}
			return o.print(cmd, found, func() error { return writeDevices(cmd.OutOrStdout(), found, time.Now()) })
		},
	}
}

func writeDevices(w io.Writer, devices []catalogue.Device, now time.Time) error {
	for i, d := range devices {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := deviceFacts(d, now).write(w); err != nil {
			return err
		}
	}
	return nil
}

func deviceFacts(d catalogue.Device, now time.Time) facts {
	f := facts{
		{"device", deviceName(d.Domain, d.Name)}, {"clone", d.CloneDetail},
		{"first seen", cli.When(d.FirstSeen)}, {"last seen", fmt.Sprintf("%s (%s)", cli.When(d.LastSeen), cli.Ago(d.LastSeen, now))},
		{"uploads", known(!d.OnlyTold(), fmt.Sprintf("%d, %s", d.Uploads, cli.Size(d.Bytes)))},
	}
	for _, k := range d.Kinds {
		f = append(f, fact{k.Kind, fmt.Sprintf("%d, %s, last %s", k.Uploads, cli.Size(k.Bytes), cli.When(k.Last))})
	}
	for _, c := range d.Contacts {
		f = append(f, contactFacts(c, now)...)
	}
	return append(f, toldFacts(d.Told, now)...)
}

// toldFacts are what other beacons heard.
func toldFacts(told []catalogue.Told, now time.Time) (f facts) {
	for _, t := range told {
		who := t.Beacon
		if t.Child != t.Beacon {
			who += " by way of " + t.Child
		}
		f = append(f, fact{"heard by", fmt.Sprintf("%s, whose last word is of %s", who, cli.Ago(t.Heard, now))})
		for _, kind := range slices.Sorted(maps.Keys(t.Uploads)) {
			f = append(f, fact{"  " + kind, "last " + cli.When(t.Uploads[kind])})
		}
		f = append(f, contactFacts(t.Contact, now)...)
	}
	return f
}

func contactFacts(c catalogue.Contact, now time.Time) facts {
	f := facts{
		{"contact", fmt.Sprintf("%s from %s, %s", cli.Ago(c.LastSeen, now), dash(c.Address), requests(c))},
		{"  agent id", c.AgentID}, {"  version", c.Version},
		{"  holds revision", known(c.Revision > 0, c.Revision)}, {"  files waiting there", known(c.Spool >= 0, c.Spool)},
		{"  clock ahead by", known(c.SkewKnown, c.Skew)}, {"  its last error", c.Error},
	}
	return append(f, answerFact("  last policy download", c.Policy), answerFact("  last refused upload", c.Refusal))
}

// requests says how many there were, if that is known.
func requests(c catalogue.Contact) string {
	if c.Requests == 0 {
		return "of which nothing more is known"
	}
	return cli.Count(c.Requests, "request")
}

func answerFact(name string, a catalogue.Answer) fact {
	if a.IsZero() {
		return fact{name, ""}
	}
	return fact{name, fmt.Sprintf("%s: %d %s %s", cli.When(a.At), a.Status, a.Code, a.What)}
}
