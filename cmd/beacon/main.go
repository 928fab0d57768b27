// Command beacon is the inventory beacon: the server, and the operator's tool.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"inventorybeacon/cmd/internal/cli"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	return cli.Main(root(), args, os.Stdin, os.Stdout, os.Stderr)
}

const long = `beacon stands between inventory agents and the centre. Agents get policy from it
and put inventory, usage and log files, which it makes durable and relays.

Without configuration, "beacon serve" keeps its data in ./beacon-data, serves
agents on 127.0.0.1:8080 and administrators on 127.0.0.1:8090, and relays to the
directory beacon-data/relayed.

The operator's commands reach a running beacon by --data, through the socket in
its data directory; most work on a stopped one too.`

func root() *cobra.Command {
	root := cli.Root("beacon", "Inventory beacon: serves policy to agents, relays what they send", long)
	o := &operator{}
	root.PersistentFlags().StringVar(&o.data, "data", defaultData(), "data directory of the beacon (BEACON_DATA)")
	root.PersistentFlags().BoolVar(&o.json, "json", false, "print one JSON document instead of text")
	root.AddCommand(
		serveCommand(o), demoCommand(),
		cli.Group("policy", "Bundles, revisions and what a device is told", policyCommands(o)...),
		cli.Group("uploads", "What agents sent, and where it has got to", uploadsCommands(o)...),
		cli.Group("agents", "The devices that report here", agentsCommands(o)...),
		traceCommand(o), statusCommand(o), doctorCommand(o),
		cli.Group("config", "The configuration file", configCommands(o)...),
	)
	return root
}

func defaultData() string {
	if dir := os.Getenv("BEACON_DATA"); dir != "" {
		return dir
	}
	return "beacon-data"
}

// An operator is whoever calls a command, with what all commands can be told.
type operator struct {
	data string
	json bool
}

// print writes v as JSON if that was asked for, else as text.
func (o *operator) print(cmd *cobra.Command, v any, text func() error) error {
	if o.json {
		return cli.JSON(cmd.OutOrStdout(), v)
	}
	return text()
}
